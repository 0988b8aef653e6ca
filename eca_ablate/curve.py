"""The learning curve of a run: what its module logs at the end of every epoch, kept for its results."""

from __future__ import annotations

import math
from typing import Any

from lightning import Callback, LightningModule, Trainer

from eca_ablate.lit import AttentionClassifier

VALIDATION = ("val_loss", "val_top1", "val_top5")


class Curve(Callback):
    """Keeps one point an epoch, as plain JSON values; nothing is done or waited for within an epoch.

    A checkpoint of Lightning holds the points so far, so that a run that is resumed has all of them.

    Attributes:
        points: by epoch, `epoch` counted from 1, `train_loss` (nats, the mean of the epoch's steps), `lr` (of its last
            step), `val_loss` (nats), `val_top1` and `val_top5` (percent). What is no finite number is None.
    """

    def __init__(self) -> None:
        self._epochs: list[dict[str, Any]] = []  # by epoch, its last step and what was logged, not rounded

    @property
    def points(self) -> list[dict[str, Any]]:
        """Return the points so far."""
        return [
            {"epoch": number + 1, **{name: _finite(name, value) for name, value in epoch["logged"].items()}}
            for number, epoch in enumerate(self._epochs)
        ]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epochs of a run that goes on once more, since its logger begins with an empty file."""
        if trainer.logger is None:
            return
        for number, epoch in enumerate(self._epochs):
            for names in (VALIDATION, ("train_loss", "lr")):  # in the order and the parts in which Lightning logs them
                values = {name: epoch["logged"][name] for name in names if epoch["logged"][name] is not None}
                trainer.logger.log_metrics({**values, "epoch": number}, step=epoch["step"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep what was logged in this epoch, whose validation is over."""
        assert isinstance(pl_module, AttentionClassifier)  # noqa: S101  (`run` trains no other)
        known = trainer.callback_metrics
        values = {
            "train_loss": pl_module.train_loss,
            "lr": pl_module.learning_rate,
            **{name: known.get(name) for name in VALIDATION},
        }
        logged = {name: None if value is None else float(value) for name, value in values.items()}
        self._epochs.append({"step": trainer.global_step - 1, "logged": logged})

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs for a checkpoint."""
        return {"epochs": self._epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the epochs of a checkpoint."""
        self._epochs = list(state_dict["epochs"])


def _finite(name: str, value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else rounded(name, value)


def rounded(name: str, value: float) -> float:
    """Round a metric far below one image's share, so that a percentage reads 97.2145 and not 97.21448516845703."""
    if name == "lr":
        return float(f"{value:.6g}")
    return round(value, 6 if name.endswith("loss") else 4)
