"""The runs study: an Optuna study whose trials are runs, queue and ledger at once, and the only state there is.

A run waits as an enqueued trial without parameters; its key, its configuration, its row and learning curve or the
reason why it failed are attributes of the trial. Of two finished trials with one key the first counts.
"""

from __future__ import annotations

import logging
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import RandomSampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from eca_ablate.config import RunConfig
from eca_ablate.errors import UserError
from eca_ablate.plan import Plan, PlannedRun
from eca_ablate.report import write_curves, write_rows
from eca_ablate.space import METRICS

HEARTBEAT_SECONDS = 20
GRACE_SECONDS = 90

Execute = Callable[[RunConfig, Trial], dict[str, Any]]


class PutBack(BaseException):
    """Raised inside a run that is to stop; the run waits again."""


class RunsStudy:
    """The runs of one experiment.

    Args:
        url: of the storage, as SQLAlchemy takes it.
        folder: of the results; its lock keeps two plans from adding the same runs.
        metric: the column of a row that is the value of its trial.
        pruner: of runs, on the values they report.
    """

    def __init__(self, url: str, folder: Path, metric: str = "val_top1", pruner: BasePruner | None = None) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.getLogger("sqlalchemy").setLevel(logging.ERROR)
        self.url, self.metric = url, metric
        self._lock = FileLock(folder / "plan.lock")
        with self._lock:
            self._study = open_study(url, folder, "runs", metric, pruner or NopPruner())
        self._storage = self._study._storage

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
        with self._lock:
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
        with self._lock:
            self.require(binding)
            self._study.set_user_attr("binding", binding)
            self.release_dead()

    def enqueue(self, runs: Iterable[PlannedRun], **attributes: Any) -> None:
        """Let runs wait that are not finished, pruned, waiting or running; one that failed gets a new attempt."""
        with self._lock:
            states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING)
            taken = {trial.user_attrs.get("key") for trial in self._trials(*states)}
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
        return len(self._trials(TrialState.WAITING, TrialState.RUNNING))

    def pruned(self) -> set[str]:
        """Return the keys of the runs that a pruner stopped."""
        return {t.user_attrs["key"] for t in self._trials(TrialState.PRUNED) if "pruned_after" in t.user_attrs}

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

    def work(self, execute: Execute, ended: Callable[[FrozenTrial], None] | None = None) -> None:
        """Execute waiting runs until none waits and none that runs is alive.

        Args:
            execute: trains the configuration of a trial and returns its row, and under `curve` its learning curve.
                `TrialPruned` stops the run, any other `Exception` fails it alone; `PutBack` lets it wait again and
                ends the work.
            ended: called with the trial of every run that is finished, pruned or failed, once the study knows it.
        """

        def tell(_: optuna.Study, trial: FrozenTrial) -> None:
            if ended is not None and "key" in trial.user_attrs:
                ended(trial)

        while True:
            with _experimental():
                fail_stale_trials(self._study)
            self.release_dead()
            if not self._trials(TrialState.WAITING):
                if not self._trials(TrialState.RUNNING) and not self._study.user_attrs.get("open", False):
                    return
                time.sleep(1.0)
                continue
            self._study.optimize(
                lambda trial: self._execute(trial, execute), n_trials=1, catch=(Exception,), callbacks=[tell]
            )

    def _execute(self, trial: Trial, execute: Execute) -> float:
        key = trial.user_attrs.get("key")
        if key is None or key in self.rows():  # nothing waited any more, or another worker was first
            raise optuna.TrialPruned
        trial.set_user_attr("worker", [platform.node(), os.getpid()])
        try:
            row = execute(RunConfig.from_dict(trial.user_attrs["config"]), trial)
        except optuna.TrialPruned:
            trial.set_user_attr("pruned_after", max(self._storage.get_trial(trial._trial_id).intermediate_values))
            raise
        except Exception as error:
            trial.set_user_attr("reason", f"{type(error).__name__}: {error}")
            raise
        except BaseException:
            self._put_back(self._storage.get_trial(trial._trial_id))
            raise
        trial.set_user_attr("curve", row.pop("curve", []))
        trial.set_user_attr("row", row)
        worst = float("-inf") if METRICS[self.metric] == "maximize" else float("inf")
        return worst if row[self.metric] is None else float(row[self.metric])

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


def export(folder: Path, runs: Sequence[PlannedRun], study: RunsStudy, experiment: str, file: str = "runs.csv") -> None:
    """Write the rows of those runs that are finished, and their learning curves beside them."""
    rows, curves = study.rows(), study.curves()
    done = [run for run in runs if run.config.key() in rows]
    facts = [{"experiment": experiment, **rows[run.config.key()], **run.facts()} for run in done]
    write_curves(folder, {run.config.key(): curves.get(run.config.key(), []) for run in done}, file)
    write_rows(folder, facts, file=file)


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


def open_study(url: str, folder: Path, kind: str, metric: str, pruner: BasePruner) -> optuna.Study:
    """Open one of an experiment's studies, or create it.

    Args:
        url: of the storage: a database of its own, or one that studies of many folders share by name.
        folder: of the results.
        kind: `runs` or `points`.
        metric: its direction is the study's.
        pruner: of its trials.
    """
    try:
        with _experimental():
            storage = RDBStorage(
                url,
                heartbeat_interval=HEARTBEAT_SECONDS if kind == "runs" else None,  # points are asked and told
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
            )
    except (SQLAlchemyError, ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"cannot open the storage of the study: {reason}; check `--storage URL`") from error
    return optuna.create_study(
        storage=storage,
        study_name=kind if url == storage_url(folder) else f"{folder.resolve().name}/{kind}",
        sampler=RandomSampler(seed=0),
        pruner=pruner,
        direction=METRICS[metric],
        load_if_exists=True,
    )


@contextmanager
def _experimental() -> Iterator[None]:
    """Use what Optuna calls experimental without saying so each time."""
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
