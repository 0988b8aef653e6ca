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
        self.points: list[dict[str, Any]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the point of this epoch, whose validation is over."""
        assert isinstance(pl_module, AttentionClassifier)  # noqa: S101  (`run` trains no other)
        logged = trainer.callback_metrics
        values = {
            "train_loss": pl_module.train_loss,
            "lr": pl_module.learning_rate,
            **{name: logged.get(name) for name in VALIDATION},
        }
        point = {name: None if value is None else rounded(name, float(value)) for name, value in values.items()}
        finite = {name: value if value is not None and math.isfinite(value) else None for name, value in point.items()}
        self.points.append({"epoch": trainer.current_epoch + 1, **finite})

    def state_dict(self) -> dict[str, Any]:
        """Return the points for a checkpoint."""
        return {"points": self.points}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the points of a checkpoint."""
        self.points = list(state_dict["points"])


def rounded(name: str, value: float) -> float:
    """Round a metric far below one image's share, so that a percentage reads 97.2145 and not 97.21448516845703."""
    if name == "lr":
        return float(f"{value:.6g}")
    return round(value, 6 if name.endswith("loss") else 4)
