"""Fetch published archives: verified, atomic, and safe for two processes at once."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import os
import socket
import sys
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from torchvision.datasets.utils import download_url

from eca_ablate.errors import DataError

STALL_S = 60.0  # a server that sends nothing for so long is given up


@dataclass(frozen=True)
class Archive:
    """A published file.

    Args:
        url: where it is published.
        md5: the checksum its publisher gives; it guards against accidents, and identifies the content.
    """

    url: str
    md5: str

    @property
    def filename(self) -> str:
        """Return the name under which it is kept."""
        return self.url.rsplit("/", 1)[-1]


def fetch(archive: Archive, folder: Path) -> Path:
    """Return the verified archive in `folder`, downloading it if it is not there.

    A file that the user has put there is verified like a download.

    Raises:
        DataError: if it cannot be had, is cut short or differs from the published checksum.
    """
    path = folder / archive.filename
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{archive.filename}.lock"):
            if not path.exists():
                _download(archive, path)
            elif (received := _md5(path)) != archive.md5:
                raise DataError(
                    f"{path} is not the published file: md5 {archive.md5} is expected, but its own is {received} "
                    f"({path.stat().st_size} bytes); delete it and run the same command to download it again"
                )
    except OSError as error:
        raise DataError(
            f"cannot keep {archive.filename} in {folder}: {error}; set ECA_ABLATE_CACHE to a folder that can be "
            "written to"
        ) from error
    return path


def _download(archive: Archive, path: Path) -> None:
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        with _stalls_end(), _quiet_unless_terminal():
            download_url(archive.url, str(part.parent), filename=part.name, md5=archive.md5)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, http.client.HTTPException, RuntimeError, ValueError) as error:
        if isinstance(error, RuntimeError) and part.exists():
            raise DataError(
                f"{archive.filename} from {archive.url} is damaged: md5 {archive.md5} is expected, but {_md5(part)} "
                f"was received ({part.stat().st_size} bytes); run the same command to try again, or put the right "
                f"file at {path}"
            ) from error
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is also the open response
        raise DataError(
            f"cannot download {archive.url}: {error}; where there is no network, put the file (md5 {archive.md5}) "
            f"at {path}, it is then verified and used"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextlib.contextmanager
def _stalls_end() -> Iterator[None]:
    """torchvision passes no timeout to urllib, which would wait forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _quiet_unless_terminal() -> Iterator[None]:
    """torchvision draws its progress bar into log files, too."""
    if sys.stderr.isatty():
        yield
    else:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
