"""What is known of the runs of one experiment, and what becomes of those whose worker died."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

from eca_ablate.errors import UserError
from eca_ablate.plan import Plan, PlannedRun
from eca_ablate.storage import StudyLock, open_study, opening, wait_again
from eca_ablate.storage.patience import PatientStorage

TRIES = 3  # of a run whose worker dies, without a checkpoint in between


class Ledger:
    """The runs of one experiment: which are done, which wait, and which died with their worker.

    Args:
        url: of the storage, as SQLAlchemy takes it.
        folder: of the results.
        metric: the column of a row that is the value of its trial.
        pruner: of runs, on the values they report.
    """

    def __init__(self, url: str, folder: Path, metric: str = "val_top1", pruner: BasePruner | None = None) -> None:
        self.url, self.metric = url, metric
        self._study = open_study(url, folder, "runs", metric, pruner or NopPruner())
        cached: Any = self._study._storage
        self._storage: PatientStorage = cached._backend  # Optuna's cache reads all that waits whatever it is asked for
        self.lock = StudyLock(url, folder, self._study.study_name)
        self._unclaimed: dict[int, float] = {}

    def binding(self) -> dict[str, Any] | None:
        """Return what all runs share, or None before the first plan."""
        bound: dict[str, Any] | None = self._study.user_attrs.get("binding")
        return bound

    def require(self, binding: dict[str, Any]) -> None:
        """Refuse another experiment.

        Raises:
            UserError: with the difference.
        """
        bound = self.binding()
        if bound is not None and bound != binding:
            raise UserError(
                "the results folder belongs to another experiment:\n"
                + "\n".join(f"  {line}" for line in differences(bound, binding))
                + "\nmore heads or seeds extend it; for anything else begin a study of its own beside it: `--out DIR`"
            )

    def add(self, plan: Plan) -> None:
        """Enqueue the runs of a plan that are neither finished, waiting nor running, and forget those that only wait.

        Raises:
            UserError: if the study belongs to another experiment, with the difference.
        """
        with self.lock:
            self.bind(plan.binding)
            wanted = {run.config.key() for run in plan.runs}
            for trial in self._trials(TrialState.WAITING):
                if trial.user_attrs.get("key") not in wanted:
                    self._fail(trial, "no longer planned")
            self.enqueue(plan.runs)

    def bind(self, binding: dict[str, Any]) -> None:
        """Tie the study to an experiment, and let the runs of dead processes wait again.

        Raises:
            UserError: if it is tied to another, with the difference.
        """
        with self.lock:
            self.require(binding)
            self._study.set_user_attr("binding", binding)
            self.release_dead()

    def enqueue(self, runs: Iterable[PlannedRun], **attributes: Any) -> None:
        """Let runs wait that are not finished, pruned, waiting or running; one that failed gets a new attempt."""
        with self.lock:
            states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING)
            taken = {trial.user_attrs.get("key") for trial in self._trials(*states) if not put_away(trial)}
            for run in runs:
                if run.config.key() not in taken:
                    taken.add(run.config.key())
                    facts = {"key": run.config.key(), "config": run.config.to_dict(), "label": run.arms[0].label}
                    self._study.enqueue_trial({}, user_attrs={**facts, **attributes})

    def keep_open(self, is_open: bool) -> None:
        """Say whether workers shall stay when nothing waits, since a search will propose more."""
        self._study.set_user_attr("open", is_open)

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the rows of the finished runs by key."""
        return {key: facts["row"] for key, facts in self._finished().items()}

    def curves(self) -> dict[str, list[dict[str, Any]]]:
        """Return the learning curves of the finished runs by key; runs of before there were any have none."""
        return {key: facts["curve"] for key, facts in self._finished().items() if "curve" in facts}

    def _finished(self) -> dict[str, dict[str, Any]]:
        finished: dict[str, dict[str, Any]] = {}
        for trial in self._trials(TrialState.COMPLETE):
            if "row" in trial.user_attrs:
                finished.setdefault(trial.user_attrs["key"], trial.user_attrs)
        return finished

    def unfinished(self) -> int:
        """Return how many runs wait or are at work."""
        return self._count(TrialState.WAITING, TrialState.RUNNING)

    def pruned(self) -> set[str]:
        """Return the keys of the runs that a pruner stopped."""
        return {t.user_attrs["key"] for t in self._trials(TrialState.PRUNED) if "pruned_after" in t.user_attrs}

    def failures(self) -> dict[str, str]:
        """Return the reason of the latest failure by key, for runs that have no later attempt."""
        reasons: dict[str, str] = {}
        for trial in self._trials():
            key = trial.user_attrs.get("key")
            if key is not None and not put_away(trial):
                reasons.pop(key, None)
                if trial.state == TrialState.FAIL and "reason" in trial.user_attrs:
                    reasons[key] = trial.user_attrs["reason"]
        return reasons

    def release_dead(self, reasons: Mapping[str, str] | None = None) -> list[FrozenTrial]:
        """Let runs wait again that no living process does, without waiting for heartbeats where none are due.

        Those are the runs of this machine's dead processes, and trials that a process took from the queue and died
        before it said so: they have neither a worker nor a heartbeat that could stop.

        Args:
            reasons: why workers died, by the key of their run, where that is known.

        Returns:
            The trials that are given up instead, since the workers of their run died `TRIES` times in a row at one
            place.
        """
        given_up: list[FrozenTrial] = []
        now, unclaimed = time.monotonic(), {}
        for trial in self._storage.get_all_trials(self._study._study_id, states=(TrialState.RUNNING,)):
            host, process = trial.user_attrs.get("worker", (None, None))
            if host is None:
                unclaimed[trial._trial_id] = self._unclaimed.get(trial._trial_id, now)
                if now - unclaimed[trial._trial_id] > opening.GRACE_SECONDS:
                    self.put_back(trial)
            elif host == platform.node() and not _alive(process):
                why = (reasons or {}).get(trial.user_attrs.get("key", ""), "its worker process died")
                if self._bury(trial, why):
                    given_up.append(self._storage.get_trial(trial._trial_id))
        self._unclaimed = unclaimed
        return given_up

    def _bury(self, trial: FrozenTrial, why: str) -> bool:
        """Let the run of a dead worker wait again, or fail it; return whether it was failed.

        A death counts where its run had begun or gone on from: a checkpoint between two deaths is progress.
        """
        deaths = [*trial.user_attrs.get("deaths", []), trial.user_attrs.get("from_step", 0)]
        if deaths[-TRIES:] == [deaths[-1]] * TRIES:
            return self._fail(trial, f"{why}; given up after {TRIES} tries that ended at the same place")
        if self._fail(trial, None):
            wait_again(self._study, trial, deaths=deaths)
        return False

    def _requeue_lost(self) -> bool:
        """Let runs wait again that were taken from a dead worker by one that died before it had put them back.

        Returns:
            Whether there were any.
        """
        with self.lock:
            latest: dict[str, FrozenTrial] = {}
            for trial in self._trials():
                if "key" in trial.user_attrs and not put_away(trial):
                    latest[trial.user_attrs["key"]] = trial
            done = self.rows()
            lost = [
                trial
                for key, trial in latest.items()
                if trial.state == TrialState.FAIL and "reason" not in trial.user_attrs and key not in done
            ]
            for trial in lost:
                wait_again(self._study, trial)
        return bool(lost)

    def put_back(self, trial: FrozenTrial) -> None:
        """Let the run of a trial wait again."""
        if self._fail(trial, None):
            wait_again(self._study, trial)

    def _fail(self, trial: FrozenTrial, reason: str | None) -> bool:
        # The storage, since `tell` takes running trials only; its identifiers have no public name.
        try:
            if reason is not None:
                self._storage.set_trial_user_attr(trial._trial_id, "reason", reason)
            return self._storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False

    def _count(self, *states: TrialState) -> int:
        return self._storage.count(self._study._study_id, *states)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)


def differences(bound: dict[str, Any], wanted: dict[str, Any], path: str = "") -> list[str]:
    """Say key by key in what two configurations differ."""
    lines: list[str] = []
    for name in sorted({*bound, *wanted}):
        old, new = bound.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += differences(old, new, f"{path}{name}.")
        elif old != new:
            lines.append(f"{path}{name}: {old!r} there, {new!r} here")
    return lines


def put_away(trial: FrozenTrial) -> bool:
    """Say whether a trial was no one's to do: see `RunsStudy._claim`."""
    return trial.state == TrialState.PRUNED and "pruned_after" not in trial.user_attrs


def _alive(process: Any) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, TypeError, ValueError):
        return False
    except PermissionError:
        return True
    return True
