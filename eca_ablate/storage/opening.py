"""Opening a study, or saying in one sentence why it cannot be opened."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from eca_ablate.errors import UserError
from eca_ablate.space import METRICS
from eca_ablate.storage.address import hide_password, read_url, storage_url
from eca_ablate.storage.lock import StudyLock
from eca_ablate.storage.patience import PatientStorage
from eca_ablate.storage.place import require_local

HEARTBEAT_SECONDS = 20
GRACE_SECONDS = 90
# Of a trial's attributes, by one that takes its place in the queue.
KEPT = ("key", "config", "label", "purpose", "deaths")


def study_name(url: str, folder: Path, kind: str) -> str:
    """Return the name of one of an experiment's studies.

    A database of its own needs none but the kind; one that is shared tells experiments apart by their results folder's
    name, so that the same command on another machine means the same study.
    """
    return kind if url == storage_url(folder) else f"{folder.resolve().name}/{kind}"


def open_study(url: str, folder: Path, kind: str, metric: str, pruner: BasePruner) -> optuna.Study:
    """Open one of an experiment's studies, or create it.

    Args:
        url: of the storage: a database of its own, or one that studies of many folders share by name.
        folder: of the results.
        kind: `runs` or `points`.
        metric: its direction is the study's.
        pruner: of its trials.

    Raises:
        UserError: if the storage cannot be opened or is an SQLite file on a network file system; the message never has
            its password.
    """
    address = read_url(url)
    require_local(address)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("sqlalchemy").setLevel(logging.ERROR)
    name = study_name(url, folder, kind)
    try:
        with StudyLock(url, folder, name, patient=False), experimental():
            storage = PatientStorage(
                address,
                heartbeat_interval=HEARTBEAT_SECONDS if kind == "runs" else None,  # points are asked and told
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=wait_again,
            )
            return optuna.create_study(
                storage=storage,
                study_name=name,
                sampler=RandomSampler(seed=0),
                pruner=pruner,
                direction=METRICS[metric],
                load_if_exists=True,
            )
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError) as error:
        reason = _reason(error, address)
        raise UserError(f"cannot open the storage of the study: {reason}; check `--storage URL`") from None


def wait_again(study: optuna.Study, trial: FrozenTrial, **more: Any) -> None:
    """Let the run of a trial that came to nothing wait again, with `more`, but without what its worker noted."""
    if "key" in trial.user_attrs:
        kept = {name: trial.user_attrs[name] for name in KEPT if name in trial.user_attrs}
        study.enqueue_trial({}, user_attrs={**kept, **more})


@contextmanager
def experimental() -> Iterator[None]:
    """Use what Optuna calls experimental without saying so each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _reason(error: Exception, url: URL) -> str:
    if isinstance(error, ImportError) and url.get_backend_name() == "postgresql":
        return "PostgreSQL needs psycopg: pip install 'eca_ablate[postgresql]'"
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
    words = str(getattr(cause, "orig", None) or cause)
    return hide_password(" ".join(words.split()), url)
