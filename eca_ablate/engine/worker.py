"""One worker process: takes runs from the study until there are none, and reports each step on standard output."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from lightning import Callback, LightningModule, Trainer
from optuna import TrialPruned
from optuna.trial import FrozenTrial, Trial, TrialState

from eca_ablate.checkpoint import Checkpoints, PutBack, checkpoint_folder, remove_checkpoints
from eca_ablate.config import RunConfig
from eca_ablate.engine.job import Event, Job, trial_event
from eca_ablate.gates import GateHistograms
from eca_ablate.machine import out_of_memory
from eca_ablate.run import run
from eca_ablate.search import Pruning, run_pruner
from eca_ablate.space import RUN_PRUNERS
from eca_ablate.study import RunsStudy
from eca_ablate.trained import KeepWeights

STOPPED, EXHAUSTED = 143, 75
PATIENCE_SECONDS = 5.0  # that a stop waits for the step or the validation in hand


def main() -> int:
    """Read the job from standard input and work; end early, run put back, on SIGTERM or when the input closes."""
    job = Job.from_json(sys.stdin.readline())
    stop = _Stop()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the supervisor's
    threading.Thread(target=_outlive_no_one, daemon=True).start()
    reports = os.fdopen(os.dup(1), "w", buffering=1)  # nothing else gets in between the events
    os.dup2(2, 1)
    faulthandler.enable()
    folder = Path(job.folder)
    progress = _Progress(reports)

    def execute(config: RunConfig, trial: Trial) -> dict[str, Any]:
        if config.data.root is not None and job.data_root is not None:
            config = replace(config, data=replace(config.data, root=job.data_root))
        label = str(trial.user_attrs.get("label", ""))
        progress.begin(Event("start", config.key(), label, config.seed))
        callbacks: list[Callback] = [progress]
        if job.pruner in RUN_PRUNERS and trial.user_attrs.get("purpose") == "search":
            callbacks.append(Pruning(trial, job.metric))
        if job.keep_weights:
            callbacks.append(KeepWeights(folder, config))
        if job.gate_histograms:
            callbacks.append(GateHistograms())
        name = re.sub(r"[^A-Za-z0-9.=-]+", "_", label).strip("_")
        logs = folder / "tensorboard" / f"{name}-seed{config.seed}-{config.key()[:6]}"
        checkpoints = Checkpoints(checkpoint_folder(folder), config, job.checkpoint_seconds, progress.warn)
        if (found := checkpoints.newest()) is not None:
            trial.set_user_attr("from_step", found[1])
        try:
            with stop.heeded(checkpoints):
                return run(config, logs, callbacks, label, checkpoints)
        except TrialPruned:
            raise
        except (Exception, SystemExit) as error:  # Lightning's own answer to SIGTERM is the latter
            traceback.print_exc()
            if stop.asked:  # and a DataLoader whose processes were stopped too
                raise PutBack from error
            if reason := _needs_another_process(error):
                progress.say("died", note=reason)
                os._exit(EXHAUSTED)  # as if it had been killed: the supervisor takes it from there
            raise

    def ended(trial: FrozenTrial) -> None:
        if trial.state != TrialState.FAIL and not job.keep_checkpoints:
            remove_checkpoints(checkpoint_folder(folder), trial.user_attrs["key"])
        progress.end(trial_event(trial))

    def pause() -> None:
        with stop.heeded():
            time.sleep(1.0)

    try:
        RunsStudy(job.storage, folder, job.metric, run_pruner(job.pruner, job.epochs)).work(execute, ended, pause)
    except PutBack:
        return STOPPED
    return 0


class _Stop:
    """What SIGTERM asks for: the end, but not in the middle of a word with the study, and after a checkpoint.

    A run that trains saves its state first, if its next step is done soon.
    """

    def __init__(self) -> None:
        self.asked = False
        self._heeded = False
        self._checkpoints: Checkpoints | None = None

    def __call__(self, *_: object) -> None:
        if self.asked:
            return
        self.asked = True
        if not self._heeded:
            return
        if self._checkpoints is None or not self._checkpoints.stop():
            raise PutBack
        signal.signal(signal.SIGALRM, _put_back)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS)

    @contextmanager
    def heeded(self, checkpoints: Checkpoints | None = None) -> Iterator[None]:
        """Heed a stop in here, and one that was asked for before."""
        self._checkpoints, self._heeded = checkpoints, True
        try:
            if self.asked:
                raise PutBack
            yield
        finally:
            self._checkpoints, self._heeded = None, False
            signal.setitimer(signal.ITIMER_REAL, 0)


def _put_back(*_: object) -> None:
    raise PutBack


def _needs_another_process(error: BaseException) -> str | None:
    """Return what happened if a run could go on in a fresh process, and None if it would fail there too."""
    words = str(error).splitlines()[0] if str(error) else ""
    if out_of_memory(error):
        return f"it ran out of memory ({type(error).__name__}: {words})"
    if isinstance(error, RuntimeError) and words.startswith("DataLoader worker"):
        return f"a process that reads its images ended ({words})"
    return None


class _Progress(Callback):
    """Reports every epoch of a run."""

    def __init__(self, reports: TextIO) -> None:
        self._reports = reports
        self._last = Event("start", "", "", 0)

    def begin(self, event: Event) -> None:
        self._last = event
        self.say("start")

    def say(self, kind: str, epoch: int | None = None, note: str = "") -> None:
        self._last = replace(self._last, kind=kind, epoch=self._last.epoch if epoch is None else epoch, note=note)
        self._report(self._last)

    def warn(self, text: str) -> None:
        self._report(replace(self._last, kind="warning", note=text))

    def end(self, event: Event) -> None:
        self._report(event)

    def _report(self, event: Event) -> None:
        try:
            self._reports.write(event.to_json() + "\n")
        except BrokenPipeError:  # the supervisor is gone, which is no failure of the run
            raise PutBack from None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        top1 = float(trainer.callback_metrics["val_top1"])
        self.say("epoch", trainer.current_epoch + 1, note=f"{top1:.1f} %")


def _outlive_no_one() -> None:
    """Stop when the supervisor is gone, however it went: its end of our input closes with it.

    Not `sys.stdin.read()`: it would hold a lock while it waits, and a DataLoader's forked worker would wait for it.
    """
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
