"""Checkpoints of an unfinished run, from which it goes on exactly: whole files or none, and never a pickled object."""

from __future__ import annotations

import io
import pickle
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from eca_ablate.config import RunConfig
from eca_ablate.files import write_atomically
from eca_ablate.machine import device_name
from eca_ablate.provenance import versions

EVERY_SECONDS = 30.0
SHARE = 0.02  # of the time of training that writing may take, however short the interval
FORMAT = 1  # raised when a checkpoint holds something else than before
FACTS = "eca_ablate"  # where a checkpoint says which run it is of


class PutBack(BaseException):
    """Raised inside a run that is to end unfinished; the run waits again.

    Args:
        reason: why, if it was for a fault of the run; empty for a stop that was asked for.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


def checkpoint_folder(results: Path) -> Path:
    """Return where the checkpoints of a results folder are."""
    return results / "checkpoints"


def remove_checkpoints(folder: Path, key: str) -> None:
    """Remove the checkpoints of a run that is complete."""
    for name in (f"{key}.ckpt", f"{key}.previous.ckpt"):
        (folder / name).unlink(missing_ok=True)


class Checkpoints(Checkpoint):
    """Saves one run by elapsed time and when it is to stop, always between two steps.

    The newest checkpoint is `<key>.ckpt`, and the one before stays as `<key>.previous.ckpt` until the next is whole.
    A checkpoint that cannot be written costs nothing but itself: the run goes on, with a warning.

    Args:
        folder: of the checkpoints.
        config: of the run.
        every: seconds between two checkpoints; the interval grows where writing would take more than `SHARE` of it,
            but 0 saves at every step.
        warn: told what the user should know.
    """

    def __init__(
        self, folder: Path, config: RunConfig, every: float = EVERY_SECONDS, warn: Callable[[str], None] = warnings.warn
    ) -> None:
        self.path = folder / f"{config.key()}.ckpt"
        self.previous = folder / f"{config.key()}.previous.ckpt"
        self.io = _WholeFiles(self.previous)
        self._facts = {"format": FORMAT, "key": config.key(), "device": device_name(), **versions()}
        self._every, self._warn = every, warn
        self._pause, self._saved_at = every, time.monotonic()
        self._stop = self._failed = False
        self._newest: tuple[Path, int] | None = None
        self._training = False

    def newest(self) -> tuple[Path, int] | None:
        """Return the newest checkpoint that is whole and of this run under these versions, and its step.

        Those that cannot be used are removed, with a warning that says why.
        """
        if self._newest is None:
            self._newest = self._find()
        return self._newest

    def _find(self) -> tuple[Path, int] | None:
        for path in (self.path, self.previous):
            try:
                found = _read(path)
            except FileNotFoundError:
                continue
            except _UNREADABLE as error:
                trouble = f"is cut short or altered ({type(error).__name__})"
            else:
                written = found.get(FACTS, {})
                others = [name for name, fact in self._facts.items() if written.get(name) != fact]
                if not others:
                    return path, int(found["global_step"])
                name = others[0]
                trouble = f"is of another {name} ({written.get(name)}, now {self._facts[name]})"
            path.unlink(missing_ok=True)
            instead = "the one before is tried" if path == self.path else "the run starts over"
            if path == self.path and not self.previous.exists():
                instead = "the run starts over"
            self._warn(f"the checkpoint {path.name} {trouble}; {instead}")
        return None

    def stop(self) -> bool:
        """Ask for `PutBack` as soon as a checkpoint can be saved; return whether there are steps to save."""
        self._stop = True
        return self._training

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count the time."""
        self._saved_at = time.monotonic()
        self._training = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save if it is time; after the last batch of an epoch its validation comes first."""
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._save_if_due(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if it is time, unless the run has diverged."""
        if not trainer.should_stop:
            self._save_if_due(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say which run this is."""
        checkpoint[FACTS] = self._facts

    def _save_if_due(self, trainer: Trainer) -> None:
        began = time.monotonic()
        if not self._stop and began - self._saved_at < self._pause:
            return
        try:
            trainer.save_checkpoint(self.path)
        except OSError as error:
            if not self._failed:
                self._warn(
                    f"the checkpoint {self.path.name} cannot be written: {error.strerror}; the run goes on without"
                )
            self._failed = True
        self._saved_at = time.monotonic()
        self._pause = max(self._every, (self._saved_at - began) / SHARE) if self._every else 0.0
        if self._stop:
            raise PutBack


class _WholeFiles(TorchCheckpointIO):
    """Lets Lightning write a checkpoint in one step, flushed to disk, beside the one before.

    Args:
        previous: where the one before is kept.
    """

    def __init__(self, previous: Path) -> None:
        self._previous = previous

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        newest = Path(path)
        if newest.exists():
            newest.replace(self._previous)
        write_atomically(newest, content.getvalue())


_UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile)


def _read(path: Path) -> dict[str, Any]:
    """Return what a file holds, having compared the checksums of its parts, which torch does not."""
    with zipfile.ZipFile(path) as parts:
        if (damaged := parts.testzip()) is not None:
            raise zipfile.BadZipFile(f"{damaged} is altered")
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content
