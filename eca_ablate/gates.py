"""What channel heads do to images: gates by block and class, and histograms of them while a run trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from torch import Tensor, nn

from eca_ablate.heads import ChannelHead
from eca_ablate.lit import AttentionClassifier
from eca_ablate.machine import best_device
from eca_ablate.run import planned_data
from eca_ablate.trained import Trained

Arrays = dict[str, NDArray[Any]]


def channel_heads(net: nn.Module) -> dict[str, ChannelHead]:
    """Return the channel heads of a network by their blocks, in order: `layer3.2` is the third block of stage 3."""
    return {name.rsplit(".", 2)[0]: module for name, module in net.named_modules() if isinstance(module, ChannelHead)}


@contextmanager
def watched(net: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Have every forward pass inside leave each block's gates, float32 `[batch, channel]`, under the block's name."""
    seen: dict[str, Tensor] = {}

    def note(head: ChannelHead, inputs: tuple[Tensor], _: Tensor, block: str) -> None:
        seen[block] = head.gate(inputs[0]).detach().float()

    hooks = [head.register_forward_hook(partial(note, block=block)) for block, head in channel_heads(net).items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def measure(trained: Trained, root: str | None = None) -> Arrays:
    """Measure the mean gate of every channel for every class of the test set, in float32 whatever the run's precision.

    Args:
        trained: with channel heads.
        root: folder of the images on this machine, where the data set has one.

    Returns:
        `blocks`, names `[block]`; `images`, int64 `[class]`; and for the i-th block `gate_i`, float32
        `[class, channel]`, NaN for a class without images, and for a linear head `matrix_i`, float16
        `[channel, channel]`.

    Raises:
        DataError: if the images are not those of the run.
    """
    config = trained.config
    if root is not None:
        config = replace(config, data=replace(config.data, root=root))
    data = planned_data(config)
    data.prepare_data()
    data.setup()
    device = best_device()
    net = trained.net.to(device)
    heads = channel_heads(net)
    images = torch.zeros(trained.num_classes, dtype=torch.int64, device=device)
    sums = {
        block: torch.zeros(trained.num_classes, head.channels, dtype=torch.float64, device=device)
        for block, head in heads.items()
    }
    with watched(net) as seen:
        for batch, labels in data.test_dataloader():
            net(batch.to(device))
            labels = labels.to(device)
            images += labels.bincount(minlength=trained.num_classes)
            for block, gates in seen.items():
                sums[block].index_add_(0, labels, gates.double())
    found: Arrays = {"blocks": np.array(list(heads)), "images": images.cpu().numpy()}
    for i, (block, head) in enumerate(heads.items()):
        found[f"gate_{i}"] = (sums[block] / images[:, None]).float().cpu().numpy()
        try:
            found[f"matrix_{i}"] = head.matrix().half().cpu().numpy()
        except TypeError:  # not linear, such as SE
            continue
    return found


class GateHistograms(Callback):
    """Shows TensorBoard the gates of every block after every epoch, on the first batch of validation.

    They are noted while that batch passes anyway, so a row is the same with and without them.
    """

    def __init__(self) -> None:
        self._watching = ExitStack()
        self._seen: dict[str, Tensor] = {}

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Begin to watch."""
        if batch_idx == 0:
            assert isinstance(pl_module, AttentionClassifier)  # noqa: S101  (`run` trains no other)
            self._seen = self._watching.enter_context(watched(pl_module.net))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write what was seen, and watch no longer."""
        if batch_idx == 0:
            self._watching.close()
            if isinstance(trainer.logger, TensorBoardLogger):
                for block, gates in self._seen.items():
                    trainer.logger.experiment.add_histogram(f"gates/{block}", gates.flatten(), trainer.global_step)
