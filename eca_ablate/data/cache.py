"""Decoded arrays on disk: written in one step, verified when read, and rebuilt when damaged."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from eca_ablate.data.dataset import Images, Listing, Split
from eca_ablate.errors import DataError

FORMAT = 1  # raised when the files are laid out or decoded differently
LOG = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return `$ECA_ABLATE_CACHE`, else `$XDG_CACHE_HOME/eca_ablate`, else `~/.cache/eca_ablate`."""
    if chosen := os.environ.get("ECA_ABLATE_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "eca_ablate"


class Entry:
    """The decoded images of one data set at one size: `images.npy`, `listing.json` and `meta.json` in a folder.

    Args:
        name: unique for the content and the size.
    """

    def __init__(self, name: str) -> None:
        self.folder = cache_folder() / "decoded" / f"{name}-v{FORMAT}"

    def listing(self) -> Listing | None:
        """Return the listing if the entry is there and whole to all appearance (sizes; `read` also hashes)."""
        try:
            meta = json.loads((self.folder / "meta.json").read_text())
            if any((self.folder / name).stat().st_size != fact["bytes"] for name, fact in meta.items()):
                return None
            return self._listing(meta)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def read(self) -> tuple[Listing, Images] | None:
        """Return listing and images (memory-mapped), or nothing if the entry is absent, cut short or altered."""
        listing = self.listing()
        if listing is None:
            return None
        meta = json.loads((self.folder / "meta.json").read_text())
        if _sha256(self.folder / "images.npy") != meta["images.npy"]["sha256"]:
            return None
        try:
            images = np.load(self.folder / "images.npy", mmap_mode="r", allow_pickle=False)
        except ValueError:  # no array, or one of Python objects, whose checksum was made to agree
            return None
        return listing, images

    def read_or_build(self, build: Callable[[], tuple[Listing, Images]]) -> tuple[Listing, Images]:
        """Return listing and images, building the entry first if it is not there or damaged.

        Two processes that ask at once build it once.

        Raises:
            DataError: if the cache folder cannot be written to, and whatever `build` raises.
        """
        if (found := self.read()) is not None:
            return found
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder.parent / f".{self.folder.name}.lock"):
                if (found := self.read()) is not None:
                    return found
                if self.folder.exists():
                    LOG.warning("%s is damaged and is being rebuilt", self.folder)
                self._write(*build())
            if (found := self.read()) is not None:
                return found
        except OSError as error:
            raise DataError(
                f"cannot write {self.folder}: {error}; set ECA_ABLATE_CACHE to a folder with room"
            ) from error
        raise DataError(f"{self.folder} changes while it is read; does the disk work?")

    def _listing(self, meta: dict[str, Any]) -> Listing:
        content = (self.folder / "listing.json").read_bytes()
        if hashlib.sha256(content).hexdigest() != meta["listing.json"]["sha256"]:
            raise ValueError("listing.json is altered")
        facts = json.loads(content)
        return Listing(
            classes=tuple(facts["classes"]),
            labels=np.array(facts["labels"], dtype=np.int64),
            parts=tuple(Split(part) for part in facts["parts"]),
            keys=tuple(facts["keys"]),
        )

    def _write(self, listing: Listing, images: Images) -> None:
        temporary = Path(tempfile.mkdtemp(prefix=f".{self.folder.name}.", dir=self.folder.parent))
        try:
            whole = temporary / "whole"
            whole.mkdir()
            np.save(whole / "images.npy", images, allow_pickle=False)
            facts = {
                "classes": listing.classes,
                "labels": listing.labels.tolist(),
                "parts": [part.value for part in listing.parts],
                "keys": listing.keys,
            }
            (whole / "listing.json").write_text(json.dumps(facts))
            meta = {
                path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)}
                for path in (whole / "images.npy", whole / "listing.json")
            }
            meta["images.npy"]["shape"] = images.shape
            (whole / "meta.json").write_text(json.dumps(meta, indent=1))
            if self.folder.exists():
                self.folder.rename(temporary / "damaged")
            whole.rename(self.folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
