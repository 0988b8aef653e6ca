"""Carrying out what waits in a study: an engine, a progress display, and an orderly end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eca_ablate.checkpoint import EVERY_SECONDS, checkpoint_folder, remove_checkpoints
from eca_ablate.commands.common import default_workers, plural, say
from eca_ablate.config import Experiment
from eca_ablate.display import PlanProgress
from eca_ablate.engine import TICK, Event, Job, run_local, run_ray, trial_event
from eca_ablate.errors import UserError
from eca_ablate.study import RunsStudy
from eca_ablate.trained import weights_path


@dataclass(frozen=True)
class Manner:
    """How runs are trained and what they leave behind; no row depends on it.

    Args:
        engine: one of `ENGINES`.
        workers: processes; None takes as many as there are cores for.
        address: of a Ray cluster; None starts one on this machine.
        gpus: that Ray keeps for a worker.
        keep_weights: of every run.
        gate_histograms: for TensorBoard, after every epoch.
        checkpoint_seconds: between two checkpoints of a run.
        keep_checkpoints: those of finished runs too.
    """

    engine: str = "local"
    workers: int | None = None
    keep_weights: bool = False
    gate_histograms: bool = False
    checkpoint_seconds: float = EVERY_SECONDS
    keep_checkpoints: bool = False
    address: str | None = None
    gpus: float = 0.0

    def say_what_is_missing(self, folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Say that runs that are done, but left no weights, are not trained again for them."""
        done = [row["key"] for row in rows if row["status"] == "done"]
        missing = sum(not weights_path(folder, key).exists() for key in done) if self.keep_weights else 0
        if missing:
            say(
                f"{plural(missing, 'finished run')} without kept weights stay as they are; to have theirs, train the "
                "experiment again in a folder of its own: `--out DIR`"
            )


def carry_out(
    experiment: Experiment,
    study: RunsStudy,
    folder: Path,
    runs: int,
    manner: Manner,
    on_end: Callable[[Event], int],
) -> None:
    """Train until nothing waits.

    Args:
        experiment: for what the workers need to know of it.
        study: where the runs wait.
        folder: of the results.
        runs: how many are expected, for the progress display.
        manner: of training.
        on_end: called when a run has ended or failed, and when nothing is left to do though the workers stay: returns
            how many more runs are expected than were before.
    """
    root = experiment.data.root
    job = Job(
        storage=study.url,
        folder=str(folder.resolve()),
        data_root=None if root is None else str(Path(root).expanduser().resolve()),
        threads=experiment.threads,
        metric=study.metric,
        pruner=experiment.search.pruner if experiment.search else "none",
        epochs=experiment.recipe.epochs,
        keep_weights=manner.keep_weights,
        gate_histograms=manner.gate_histograms,
        checkpoint_seconds=manner.checkpoint_seconds,
        keep_checkpoints=manner.keep_checkpoints,
    )

    def on_event(event: Event) -> None:
        if event == TICK:
            # Runs end on other machines too, and a worker can die between a run's end and its report.
            if not study.unfinished():
                progress.expect(on_end(event))
            return
        progress.show(event)
        if event.kind == "died":
            for trial in study.release_dead({event.key: event.note}):
                on_event(trial_event(trial))
        if event.kind in ("end", "failed"):
            progress.expect(on_end(event))

    try:
        with PlanProgress(runs, experiment.recipe.epochs) as progress:
            if manner.engine == "ray":
                run_ray(job, manner.workers, on_event, most=runs, address=manner.address, gpus=manner.gpus)
            else:
                run_local(job, min(manner.workers or default_workers(experiment.threads), runs), on_event)
        for key in () if manner.keep_checkpoints else study.rows():  # a worker may have died before it did so
            remove_checkpoints(checkpoint_folder(folder), key)
    except (KeyboardInterrupt, SystemExit):
        say("stopped; the runs at work wait again, and the same command goes on from here")
        raise


def raise_failures(study: RunsStudy, keys: Collection[str]) -> None:
    """End with the reasons why runs failed, if any did.

    Raises:
        UserError: listing each reason once.
    """
    reasons = [reason for key, reason in study.failures().items() if key in keys]
    if reasons:
        raise UserError(
            f"{len(reasons)} of {len(keys)} runs failed; the same command tries them again. Reasons:\n"
            + "\n".join(f"  {reason}" for reason in dict.fromkeys(reasons))
        )
