"""Keeps two planners apart, on one machine or on two."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from types import TracebackType

from filelock import FileLock
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from eca_ablate.storage.address import read_url
from eca_ablate.storage.patience import engine_options, patiently


class StudyLock:
    """Held by one process at a time, which may take it again while it holds it.

    On one machine a file in the results folder is the lock. Machines that share a PostgreSQL study share no folder, so
    there the server keeps an advisory lock as well; it goes with the connection, however its holder ends.

    Args:
        url: of the storage.
        folder: of the results; made if it is absent.
        name: of the study.
        patient: whether to wait for a server that is away.
    """

    def __init__(self, url: str, folder: Path, name: str, patient: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = FileLock(folder / "plan.lock")
        address = read_url(url)
        shared = address.get_backend_name() == "postgresql"
        self._engine = create_engine(address, **engine_options(address, poolclass=NullPool)) if shared else None
        self._number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        self._patient = patient
        self._connection: Connection | None = None
        self._depth = 0

    def __enter__(self) -> None:
        self._file.acquire()
        try:
            if self._depth == 0 and self._engine is not None:
                self._connection = patiently(self._ask_server) if self._patient else self._ask_server()
        except BaseException:
            self._file.release()
            raise
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0 and self._connection is not None:
            with contextlib.suppress(SQLAlchemyError):  # a server that restarted has forgotten the lock
                self._connection.close()
            self._connection = None
        self._file.release()

    def _ask_server(self) -> Connection:
        assert self._engine is not None  # noqa: S101
        connection = self._engine.connect()
        try:
            connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": self._number})
        except BaseException:
            connection.close()
            raise
        return connection
