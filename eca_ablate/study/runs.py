"""The work on the runs of one experiment, and what it leaves in the results folder."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from eca_ablate.config import RunConfig
from eca_ablate.plan import PlannedRun
from eca_ablate.report import write_curves, write_rows
from eca_ablate.space import METRICS
from eca_ablate.storage import experimental
from eca_ablate.study.ledger import Ledger

Execute = Callable[[RunConfig, Trial], dict[str, Any]]


class RunsStudy(Ledger):
    """The ledger with the work itself, as a worker does it: one run after another."""

    _in_hand: int | None = None

    def work(
        self,
        execute: Execute,
        ended: Callable[[FrozenTrial], None] = lambda _: None,
        pause: Callable[[], None] = lambda: time.sleep(1.0),
    ) -> None:
        """Execute waiting runs until none waits and none that runs is alive.

        Args:
            execute: trains the configuration of a trial and returns its row, and under `curve` its learning curve.
                `TrialPruned` stops the run, any other `Exception` fails it alone; `PutBack` lets it wait again and
                ends the work.
            ended: called with the trial of every run that is finished, pruned or failed, once the study knows it.
            pause: called while nothing waits, but something is still at work.
        """

        def tell(_: optuna.Study, trial: FrozenTrial) -> None:
            if "key" in trial.user_attrs:
                ended(trial)

        while True:
            with experimental():
                fail_stale_trials(self._study)
            for trial in self.release_dead():
                ended(trial)
            if not self._count(TrialState.WAITING):
                if self._count(TrialState.RUNNING) or self._study.user_attrs.get("open", False):
                    pause()
                elif not self._requeue_lost():
                    return
                continue
            self._in_hand = None
            try:
                self._study.optimize(
                    lambda trial: self._execute(trial, execute), n_trials=1, catch=(Exception,), callbacks=[tell]
                )
            except Exception:
                # Given to another meanwhile, since this machine slept or was cut off: then it is his to tell.
                if self._in_hand is None or not self._storage.get_trial(self._in_hand).state.is_finished():
                    raise

    def _execute(self, trial: Trial, execute: Execute) -> float:
        self._in_hand = trial._trial_id
        if not self._claim(trial):
            raise optuna.TrialPruned
        try:
            row = execute(RunConfig.from_dict(trial.user_attrs["config"]), trial)
            trial.set_user_attr("curve", row.pop("curve", []))
            trial.set_user_attr("row", row)
        except optuna.TrialPruned:
            trial.set_user_attr("pruned_after", max(self._storage.get_trial(trial._trial_id).intermediate_values))
            raise
        except Exception as error:
            trial.set_user_attr("reason", f"{type(error).__name__}: {error}")
            raise
        except BaseException:
            self.put_back(self._storage.get_trial(trial._trial_id))
            raise
        worst = float("-inf") if METRICS[self.metric] == "maximize" else float("inf")
        return worst if row[self.metric] is None else float(row[self.metric])

    def _claim(self, trial: Trial) -> bool:
        """Say whether a trial's run is this worker's to do.

        It is not if nothing waited any more, so that the trial has no run, or if the run is done or at work under
        another trial: a put-back or an answer that was lost can leave a run in the queue twice.
        """
        key = trial.user_attrs.get("key")
        if key is None:
            return False
        with self.lock:
            for other in self._storage.of_key(self._study._study_id, key):
                claimed = "worker" in other.user_attrs or other.number < trial.number
                done = other.state == TrialState.COMPLETE and "row" in other.user_attrs
                if done or (other.state == TrialState.RUNNING and claimed and other.number != trial.number):
                    return False
            trial.set_user_attr("worker", [platform.node(), os.getpid()])
        return True


def export(folder: Path, runs: Sequence[PlannedRun], study: RunsStudy, experiment: str, file: str = "runs.csv") -> None:
    """Write the rows of those runs that are finished, and their learning curves beside them."""
    rows, curves = study.rows(), study.curves()
    done = [run for run in runs if run.config.key() in rows]
    facts = [{"experiment": experiment, **rows[run.config.key()], **run.facts()} for run in done]
    write_curves(folder, {run.config.key(): curves.get(run.config.key(), []) for run in done}, file)
    write_rows(folder, facts, file=file)
