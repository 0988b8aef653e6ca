"""A storage that waits for a server that restarts, and tells a slow server from a dead worker."""

from __future__ import annotations

import functools
import json
import random
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages._rdb.models import TrialModel, TrialUserAttributeModel
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError, SQLAlchemyError

from eca_ablate.errors import UserError

PATIENCE_SECONDS = 300
LONGEST_PAUSE_SECONDS = 2.0  # between two tries
Value = TypeVar("Value")


def engine_options(url: URL, **more: Any) -> dict[str, Any]:
    """Return how SQLAlchemy shall connect: what makes a lost connection known soon, and keeps few of them open."""
    if url.get_backend_name() == "postgresql":
        # A connection that was lost while it idled is replaced before it is used; one to a machine that is gone without
        # a word is given up after a minute.
        alive = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
        connect = {"connect_timeout": 10, "application_name": "eca-ablate", **alive}
        return {"pool_pre_ping": True, "connect_args": connect, **more}
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": 60, "isolation_level": None}, **more}
    return {"pool_pre_ping": True, **more}


def passes(error: BaseException) -> bool:
    """Say whether an error of the storage is one that goes away: a lost connection, a server that starts, a lock."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(cause, PendingRollbackError):
        return True  # Optuna asks again on the connection that was lost a moment ago
    if not isinstance(cause, DBAPIError):
        return False
    if type(cause.orig).__module__.startswith("sqlite3"):
        return "locked" in str(cause.orig)
    return cause.connection_invalidated or isinstance(cause, OperationalError | InterfaceError)


def patiently(call: Callable[[], Value], on_failure: Callable[[], None] = lambda: None) -> Value:
    """Call until it succeeds, fails for good, or has failed for `PATIENCE_SECONDS`.

    Args:
        call: must do no harm when it is repeated.
        on_failure: called after every failure that passes.

    Raises:
        UserError: if the storage does not come back.
    """
    deadline, pause = time.monotonic() + PATIENCE_SECONDS, 0.1
    while True:
        try:
            return call()
        except (SQLAlchemyError, StorageInternalError) as error:
            if not passes(error):
                raise
            on_failure()
            if time.monotonic() > deadline:
                raise UserError(
                    f"the storage of the study has not answered for {PATIENCE_SECONDS} s; "
                    "the same command goes on when it is back"
                ) from error
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (spreads the workers, keeps no secret)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


class PatientStorage(RDBStorage):
    """Optuna's storage; every call is a transaction, and is repeated while the server is away.

    A transaction may have been committed although its connection was lost before the answer. Then a repeated
    `enqueue_trial` leaves a run in the queue twice, and a repeated claim leaves one that no worker knows to be its own:
    the study puts the first away and takes the second back. A trial that is found to have ended as it was told to has.

    Args:
        url: of the storage.
        others: keywords of Optuna's storage.
    """

    def __init__(self, url: URL, **others: Any) -> None:
        self._undisturbed_since = time.monotonic()
        written = url.render_as_string(hide_password=False)
        plain = written.replace("{", "{{").replace("}", "}}")  # Optuna takes a URL for a template
        super().__init__(plain, engine_kwargs=engine_options(url), **others)
        weakref.finalize(self, self.engine.dispose)  # connections are closed, not left to the collector
        if url.get_backend_name() == "sqlite":
            # Optuna claims a trial by SELECT ... FOR UPDATE, which SQLite takes for a plain SELECT: two processes could
            # claim one trial. So every transaction takes SQLite's lock when it begins.
            event.listen(self.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))

    def note_disturbance(self) -> None:
        """Remember that the server was away just now."""
        self._undisturbed_since = time.monotonic()

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """See `BaseStorage`."""
        repeated = False

        def disturbed() -> None:
            nonlocal repeated
            repeated = True
            self.note_disturbance()

        def tell() -> bool:
            try:
                return RDBStorage.set_trial_state_values(self, trial_id, state, values)
            except UpdateFinishedTrialError:
                if repeated and self.get_trial(trial_id).state == state:
                    return True
                raise

        return patiently(tell, disturbed)

    def count(self, study_id: int, *states: TrialState) -> int:
        """Return how many trials are in one of some states, without reading them."""
        return patiently(lambda: self._count(study_id, states), self.note_disturbance)

    def _count(self, study_id: int, states: Sequence[TrialState]) -> int:
        with self.scoped_session() as session:
            trials = session.query(TrialModel).filter(TrialModel.study_id == study_id, TrialModel.state.in_(states))
            return trials.count()

    def of_key(self, study_id: int, key: str) -> list[FrozenTrial]:
        """Return the trials of one run; reading all, to find a few, would take a second where hundreds wait."""
        return [self.get_trial(number) for number in patiently(lambda: self._of_key(study_id, key))]

    def _of_key(self, study_id: int, key: str) -> list[int]:
        with self.scoped_session() as session:
            named = session.query(TrialModel.trial_id).join(TrialUserAttributeModel)
            named = named.filter(TrialModel.study_id == study_id, TrialUserAttributeModel.key == "key")
            return [number for (number,) in named.filter(TrialUserAttributeModel.value_json == json.dumps(key))]

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """While the server is away no heartbeat arrives, and right after it nothing follows from that."""
        quiet = time.monotonic() - self._undisturbed_since
        if quiet < 2 * ((self.heartbeat_interval or 0) + LONGEST_PAUSE_SECONDS):
            return []
        return patiently(lambda: RDBStorage._get_stale_trial_ids(self, study_id), self.note_disturbance)


def _patient(method: Callable[..., Value]) -> Callable[..., Value]:
    @functools.wraps(method)
    def call(self: PatientStorage, *arguments: Any, **keywords: Any) -> Value:
        return patiently(lambda: method(self, *arguments, **keywords), self.note_disturbance)

    return call


# What Optuna's cache calls: the interface, and three methods beside it.
_CALLED = {
    *BaseStorage.__abstractmethods__,
    *BaseHeartbeat.__abstractmethods__,
    "_create_new_trial",
    "_get_trials",
    "_set_trial_param",
}
for _name in sorted(_CALLED - set(vars(PatientStorage))):
    setattr(PatientStorage, _name, _patient(getattr(RDBStorage, _name)))
