"""The runs study: an Optuna study whose trials are runs, queue and ledger at once, and the only state there is.

A run waits as an enqueued trial without parameters; its key, its configuration, its row or the reason why it failed are
attributes of the trial. Of two finished trials with one key the first counts.
"""

from __future__ import annotations

import logging
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.samplers import RandomSampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from eca_ablate.config import RunConfig
from eca_ablate.errors import UserError
from eca_ablate.plan import Plan, PlannedRun
from eca_ablate.report import write_rows

HEARTBEAT_SECONDS = 20
GRACE_SECONDS = 90
STUDY = "runs"

Execute = Callable[[RunConfig, dict[str, Any]], dict[str, Any]]


class PutBack(BaseException):
    """Raised inside a run that is to stop; the run waits again."""


class RunsStudy:
    """The runs of one experiment.

    Args:
        url: of the storage, as SQLAlchemy takes it.
        folder: of the results; its lock keeps two plans from adding the same runs.
    """

    def __init__(self, url: str, folder: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.getLogger("sqlalchemy").setLevel(logging.ERROR)
        self.url = url
        self._lock = FileLock(folder / "plan.lock")
        with self._lock:
            self._storage = _storage(url)
            self._study = optuna.create_study(
                storage=self._storage, study_name=STUDY, sampler=RandomSampler(seed=0), load_if_exists=True
            )

    def binding(self) -> dict[str, Any] | None:
        """Return what all runs share, or None before the first plan."""
        bound: dict[str, Any] | None = self._study.user_attrs.get("binding")
        return bound

    def require(self, plan: Plan) -> None:
        """Refuse a plan of another experiment.

        Raises:
            UserError: with the difference.
        """
        bound = self.binding()
        if bound is not None and bound != plan.binding:
            raise UserError(
                "the results folder belongs to another experiment:\n"
                + "\n".join(f"  {line}" for line in differences(bound, plan.binding))
                + "\nmore heads or seeds extend it; for anything else take a new folder: `--out DIR`"
            )

    def add(self, plan: Plan) -> None:
        """Enqueue the runs of a plan that are neither finished, waiting nor running, and forget those that only wait.

        Raises:
            UserError: if the study belongs to another experiment, with the difference.
        """
        with self._lock:
            self.require(plan)
            self._study.set_user_attr("binding", plan.binding)
            self.release_dead()
            wanted = {run.config.key(): run for run in plan.runs}
            taken: set[str] = set()
            for trial in self._trials(TrialState.COMPLETE, TrialState.RUNNING, TrialState.WAITING):
                key = trial.user_attrs.get("key")
                if trial.state == TrialState.WAITING and key not in wanted:
                    self._fail(trial, "no longer planned")
                elif key is not None:
                    taken.add(key)
            for key, run in wanted.items():
                if key not in taken:
                    self._enqueue(run)

    def _enqueue(self, run: PlannedRun) -> None:
        attributes: dict[str, Any] = {
            "key": run.config.key(),
            "config": run.config.to_dict(),
            "label": run.arms[0].label,
        }
        self._study.enqueue_trial({}, user_attrs=attributes)

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the rows of the finished runs by key."""
        rows: dict[str, dict[str, Any]] = {}
        for trial in self._trials(TrialState.COMPLETE):
            if "row" in trial.user_attrs:
                rows.setdefault(trial.user_attrs["key"], trial.user_attrs["row"])
        return rows

    def failures(self) -> dict[str, str]:
        """Return the reason of the latest failure by key, for runs that have no later attempt."""
        reasons: dict[str, str] = {}
        for trial in self._trials():
            key = trial.user_attrs.get("key")
            if key is not None:
                reasons.pop(key, None)
                if trial.state == TrialState.FAIL and "reason" in trial.user_attrs:
                    reasons[key] = trial.user_attrs["reason"]
        return reasons

    def work(self, execute: Execute) -> None:
        """Execute waiting runs until none waits and none that runs is alive.

        Args:
            execute: trains a configuration (second argument: the trial's attributes) and returns its row. An
                `Exception` fails that run alone; `PutBack` lets it wait again and ends the work.
        """
        while True:
            with _experimental():
                fail_stale_trials(self._study)
            self.release_dead()
            if not self._trials(TrialState.WAITING):
                if not self._trials(TrialState.RUNNING):
                    return
                time.sleep(1.0)
                continue
            self._study.optimize(lambda trial: self._execute(trial, execute), n_trials=1, catch=(Exception,))

    def _execute(self, trial: Trial, execute: Execute) -> float:
        key = trial.user_attrs.get("key")
        if key is None or key in self.rows():  # nothing waited any more, or another worker was first
            raise optuna.TrialPruned
        trial.set_user_attr("worker", [platform.node(), os.getpid()])
        try:
            row = execute(RunConfig.from_dict(trial.user_attrs["config"]), dict(trial.user_attrs))
        except Exception as error:
            trial.set_user_attr("reason", f"{type(error).__name__}: {error}")
            raise
        except BaseException:
            self._put_back(self._storage.get_trial(trial._trial_id))
            raise
        trial.set_user_attr("row", row)
        return float("-inf") if row["val_top1"] is None else float(row["val_top1"])

    def release_dead(self) -> None:
        """Let the runs of this machine's dead processes wait again, without waiting for their heartbeats to stop."""
        for trial in self._trials(TrialState.RUNNING):
            host, process = trial.user_attrs.get("worker", (None, None))
            if host == platform.node() and not _alive(process):
                self._put_back(trial)

    def _put_back(self, trial: FrozenTrial) -> None:
        kept = ("key", "config", "label")
        attributes: dict[str, Any] = {name: trial.user_attrs[name] for name in kept if name in trial.user_attrs}
        if self._fail(trial, None) and attributes:
            self._study.enqueue_trial({}, user_attrs=attributes)

    def _fail(self, trial: FrozenTrial, reason: str | None) -> bool:
        # The storage, since `tell` takes running trials only; its identifiers have no public name.
        try:
            if reason is not None:
                self._storage.set_trial_user_attr(trial._trial_id, "reason", reason)
            return self._storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)


def export(folder: Path, plan: Plan, rows: dict[str, dict[str, Any]], experiment: str) -> int:
    """Write `runs.csv` of a plan's finished runs; return how many there are."""
    done = [
        {"experiment": experiment, **rows[run.config.key()], **run.facts()}
        for run in plan.runs
        if run.config.key() in rows
    ]
    write_rows(folder, done)
    return len(done)


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


def storage_url(folder: Path) -> str:
    """Return the default storage of a results folder, an SQLite file."""
    return f"sqlite:///{folder.resolve() / 'study.db'}"


def _storage(url: str) -> RDBStorage:
    try:
        with _experimental():
            return RDBStorage(
                url,
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
            )
    except (SQLAlchemyError, ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"cannot open the storage of the study: {reason}; check `--storage URL`") from error


@contextmanager
def _experimental() -> Iterator[None]:
    """Use what Optuna may still change without being told so each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _alive(process: Any) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, TypeError, ValueError):
        return False
    except PermissionError:
        return True
    return True
