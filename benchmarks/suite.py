"""What a whole Table 2 takes, and how much of it is neither forward, backward nor optimiser.

Run:      python benchmarks/suite.py
Writes:   results/benchmarks/suite.csv

`start_s` and `total_s` are of the suite as `eca-ablate run` trains it: from the start of its workers to the first run,
and to the end of the last. `share_outside` is of a worker that trains the same suite in this process, which has trained
a small network before (what is imported then is start-up), and whose clock runs from the first run's start to the end
of the last: 1 - (forward + backward + optimiser, evaluation's forward included) / all of it. What a worker does besides
is in it: the study, data, networks, metrics, curves, TensorBoard, rows. Tables and figures are made once, after the
last run, and stand apart as `report_s`.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import images
import record
import timing
import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn

from eca_ablate.checkpoint import Checkpoints, checkpoint_folder, remove_checkpoints
from eca_ablate.commands.common import default_workers
from eca_ablate.config import BackboneConfig, Experiment, Recipe
from eca_ablate.data import prepare
from eca_ablate.engine import TICK, Event, Job, run_local
from eca_ablate.plan import make_plan
from eca_ablate.report.publish import publish
from eca_ablate.run import run
from eca_ablate.storage import storage_url
from eca_ablate.study import RunsStudy, export

LITTLE = Experiment(
    backbone=BackboneConfig("resnet20", width=0.25), recipe=Recipe(epochs=1), seeds=1, heads=["none", "eca"]
)


class Compute(Callback):
    """Adds up the seconds of forward, backward and optimiser.

    On a GPU it waits for the device at each mark, so that a part is charged for its own work.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def _start(self, *_: Any) -> None:
        timing.synchronise()
        self._began = time.perf_counter()

    def _stop(self, *_: Any) -> None:
        timing.synchronise()
        self.seconds += time.perf_counter() - self._began

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Watch the network and the loss."""
        if stage == "fit":
            for module in (pl_module.net, pl_module.loss):
                assert isinstance(module, nn.Module)
                module.register_forward_pre_hook(self._start)
                module.register_forward_hook(self._stop)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor) -> None:
        """Backward begins."""
        self._start()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Backward is done."""
        self._stop()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """The update follows, and then the batch ends."""
        if not optimizer._optimizer_step_post_hooks:
            optimizer.register_step_post_hook(self._stop)
        self._start()


def experiments(quick: bool) -> dict[str, tuple[str, Experiment]]:
    """Return the suites: a title of their images, and the experiment."""
    if quick:
        return {"quick": ("digits", LITTLE)}
    digits = Experiment(backbone=BackboneConfig("resnet20", width=2), recipe=Recipe(epochs=8), seeds=1)
    suites = {"table2_digits": ("digits", digits)}
    found = images.cifar10(1.0 if record.on_gpu() else 0.1)
    if found:
        title, data = found
        few = Experiment(
            data=data,
            backbone=BackboneConfig("resnet20", width=1),
            recipe=Recipe(epochs=5),
            seeds=1,
            heads=[{"name": "eca", "kernel_size": 3}],
        )
        suites["cifar10"] = (title, few)
    return suites


def measure(name: str, title: str, question: Experiment) -> dict[str, Any]:
    """Train a suite with the engine and in this process, and return the row."""
    prepare(question.data)
    plan = make_plan(question)
    workers = default_workers(question.threads)
    with tempfile.TemporaryDirectory() as place:
        start, total = by_the_engine(question, Path(place) / "engine", min(workers, len(plan.runs)))
        run(make_plan(LITTLE).runs[0].config, Path(place) / "before")
        wall, compute, report = _in_this_process(question, Path(place) / "here")
    trained = sum(question.recipe.epochs for _ in plan.runs)
    return {
        "suite": name,
        "images": title,
        "data_fraction": question.data.fraction,
        "network": f"{question.backbone.name}, width {question.backbone.width:g}",
        "runs": len(plan.runs),
        "epochs": question.recipe.epochs,
        "n_train": plan.info.n_train,
        "workers": workers,
        "precision": plan.runs[0].config.recipe.precision,
        "start_s": round(start, 2),
        "total_s": round(total, 2),
        "seconds_an_epoch": round(wall / trained, 4),
        "one_worker_s": round(wall, 2),
        "compute_s": round(compute, 2),
        "share_outside": round(1 - compute / wall, 4),
        "report_s": round(report, 2),
        "share_outside_with_report": round(1 - compute / (wall + report), 4),
    }


def _study(question: Experiment, folder: Path) -> RunsStudy:
    folder.mkdir()
    study = RunsStudy(storage_url(folder), folder)
    study.add(make_plan(question))
    return study


def by_the_engine(question: Experiment, folder: Path, workers: int) -> tuple[float, float]:
    """Train an experiment; return the seconds to the first run and to the end of the last."""
    study = _study(question, folder)
    began, firsts = time.perf_counter(), []

    def on_event(event: Event) -> None:
        if event != TICK:
            firsts.append(time.perf_counter() - began)

    run_local(Job(study.url, str(folder), question.data.root, question.threads), workers, on_event)
    return firsts[0], time.perf_counter() - began


def _in_this_process(question: Experiment, folder: Path) -> tuple[float, float, float]:
    plan, study, compute = make_plan(question), _study(question, folder), 0.0

    def execute(config: Any, trial: Any) -> dict[str, Any]:
        nonlocal compute
        watch = Compute()
        logs, checkpoints = folder / "tensorboard" / config.key(), Checkpoints(checkpoint_folder(folder), config)
        row = run(config, logs, [watch], trial.user_attrs["label"], checkpoints)
        remove_checkpoints(checkpoint_folder(folder), config.key())
        compute += watch.seconds
        return row

    def ended(_: Any) -> None:
        export(folder, plan.runs, study, "suite")

    began = time.perf_counter()
    study.work(execute, ended)
    wall = time.perf_counter() - began
    began = time.perf_counter()
    publish(folder, "benchmark")
    return wall, compute, time.perf_counter() - began


def main() -> None:
    """Measure the suites and write the rows."""
    parser = record.options(__doc__.partition("\n")[0] if __doc__ else "")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, (title, question) in experiments(given.quick).items():
        rows.append(measure(name, title, question))
        record.write(given.out / "suite.csv", [{**row, **record.conditions(1)} for row in rows])
    print(timing.table(rows, ("suite", "runs", "start_s", "total_s", "one_worker_s", "share_outside", "report_s")))


if __name__ == "__main__":
    main()
