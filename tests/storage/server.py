"""A real PostgreSQL server of the tests' own, in a temporary folder, on a free port of the loopback interface."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

HOW_TO_GET_IT = (
    "PostgreSQL's server is not installed, so nothing is tried with a real one: `apt-get install postgresql` (Debian, "
    "Ubuntu), `dnf install postgresql-server` (Fedora) or `brew install postgresql` (macOS); it need not be started"
)
USER = "eca"
PASSWORD = "s3cret/@:%{x}"  # noqa: S105  (with all that a URL, a template and a format string could stumble over)


def programs() -> Path | None:
    """Return the folder of `initdb` and `pg_ctl`, the newest where there are several."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda path: float(path.parent.name), default=None)


class Server:
    """A cluster that asks for a password; as root it runs as `postgres`, since PostgreSQL refuses root."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._data = programs, folder / "data"
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            owner = pwd.getpwnam(self._user)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._do("initdb", "--username", USER, "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n"
            )
        self.start()

    def url(self, database: str = "postgres") -> str:
        from sqlalchemy import URL

        url = URL.create("postgresql", USER, PASSWORD, "127.0.0.1", self.port, database)
        return url.render_as_string(hide_password=False)

    def start(self) -> None:
        self._do("pg_ctl", "start", "--wait", "--log", str(self._data / "log"))

    def stop(self) -> None:
        """As a power cut would: no connection is closed in an orderly way, and what follows is a recovery."""
        self._do("pg_ctl", "stop", "--wait", "--mode=immediate")

    def create_database(self, name: str) -> str:
        """Return the URL of a new, empty database."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def _do(self, program: str, *arguments: str) -> None:
        command = [self._programs / program, "-D", self._data, *arguments]
        with tempfile.TemporaryFile("w+") as words:
            done = subprocess.run(command, stdout=words, stderr=words, user=self._user, cwd="/", timeout=60)
            words.seek(0)
            assert done.returncode == 0, words.read()


@contextlib.contextmanager
def running(programs: Path) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="eca-ablate-postgresql-"))  # pytest's own folders are closed to other users
    try:
        server = Server(programs, folder)
        try:
            yield server
        finally:
            with contextlib.suppress(AssertionError):  # a test may have left it stopped
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
