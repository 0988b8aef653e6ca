"""Kept weights: what a run leaves of its network, and the network made of it again."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn

from eca_ablate.config import RunConfig
from eca_ablate.errors import DataError
from eca_ablate.files import write_atomically
from eca_ablate.lit import AttentionClassifier
from eca_ablate.run import build_net

FOLDER = "weights"


class Trained(NamedTuple):
    """A trained network and everything it came from.

    Args:
        config: of its run.
        net: in evaluation mode, on the CPU.
        num_classes: outputs.
    """

    config: RunConfig
    net: nn.Module
    num_classes: int


class KeepWeights(Callback):
    """Leaves the weights after the last epoch in `weights/<key>.pt`; a run that diverged leaves none.

    The file holds the state dict, the resolved configuration as plain JSON values and the number of classes, so that
    `torch.load(path, weights_only=True)` reads it.

    Args:
        folder: of the results.
        config: of the run.
    """

    def __init__(self, folder: Path, config: RunConfig) -> None:
        self._path, self._config = weights_path(folder, config.key()), config

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file in one step: test is read once, after the last epoch."""
        assert isinstance(pl_module, AttentionClassifier)  # noqa: S101  (`run` trains no other)
        content = io.BytesIO()
        weights = {name: value.detach().cpu() for name, value in pl_module.net.state_dict().items()}
        classes = trainer.datamodule.num_classes  # type: ignore[attr-defined]
        torch.save({"config": self._config.to_dict(), "num_classes": classes, "state_dict": weights}, content)
        write_atomically(self._path, content.getvalue())


def weights_path(folder: Path, key: str) -> Path:
    """Return where the weights of a run are kept."""
    return folder / FOLDER / f"{key}.pt"


def load_trained(path: Path) -> Trained:
    """Build the network of a run again, with the weights it was left with.

    Raises:
        DataError: if the file is absent, damaged or of another network than its configuration says.
    """
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        config = RunConfig.from_dict(kept["config"])
        net = build_net(config, kept["num_classes"])
        net.load_state_dict(kept["state_dict"])
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: these are no weights that `eca-ablate run FILE --keep-weights` left ({reason}); delete the file, "
            "and train the run again in a folder of its own (`--out DIR`)"
        ) from error
    return Trained(config, net.eval(), kept["num_classes"])
