"""Training: any network from images to logits, by a recipe. It knows no head."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR, OneCycleLR, SequentialLR
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from eca_ablate.config import Recipe

# Images, float `[batch, 3, height, width]`, and labels, int64 `[batch]`.
Batch = tuple[Tensor, Tensor]


class AttentionClassifier(LightningModule):
    """Cross-entropy, SGD and top-1/top-5 around a network; works in any Trainer with any loader of (images, labels).

    Logged once an epoch: `train_loss`, `lr`, and for validation and test `val_loss`, `val_top1`, `val_top5` (percent)
    and so on. With fewer than five classes, top-5 is top-`num_classes`, which is 100.

    Args:
        net: from images `[batch, 3, height, width]` to logits `[batch, num_classes]`.
        num_classes: outputs of the network.
        recipe: optimiser, schedule and loss; its `epochs` and `batch_size` are the Trainer's and the loader's concern.

    Raises:
        ValueError: if num_classes < 2.
    """

    def __init__(self, net: nn.Module, num_classes: int, recipe: Recipe | None = None) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"`num_classes >= 2` must hold, but got {num_classes}")
        self.net = net
        self.recipe = recipe or Recipe()
        self.loss = nn.CrossEntropyLoss(label_smoothing=self.recipe.label_smoothing)
        accuracies = {
            f"top{k}": MulticlassAccuracy(num_classes, top_k=min(k, num_classes), average="micro", validate_args=False)
            for k in (1, 5)
        }
        top: dict[str, Metric | MetricCollection] = {**accuracies}
        # Leaving out what is no number would hide that a run diverged; torchmetrics then ignores weights, so the mean
        # is over images and not over batches.
        top["loss"] = MeanMetric(nan_strategy="disable")
        self.val_metrics = MetricCollection(top, prefix="val_", compute_groups=False)
        self.test_metrics = self.val_metrics.clone(prefix="test_")
        self._train_loss: Tensor | None = None
        self._train_steps = 0
        self._lr = self.recipe.lr

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch class"]:
        """Return the logits of the classes."""
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss; its mean is logged when the epoch ends, which saves a log call every step."""
        images, labels = batch
        loss: Tensor = self.loss(self(images), labels)
        seen = loss.detach().float()
        self._train_loss = seen if self._train_loss is None else self._train_loss + seen
        self._train_steps += 1
        return loss

    @property
    def train_loss(self) -> Tensor | None:
        """Return the mean loss of this epoch's steps so far, on the device; None before the first."""
        return None if self._train_loss is None else self._train_loss / self._train_steps

    @property
    def learning_rate(self) -> float:
        """Return the learning rate of the last step."""
        return self._lr

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Remember the learning rate, which the schedule changes before the epoch ends."""
        self._lr = optimizer.param_groups[0]["lr"]

    def on_train_epoch_end(self) -> None:
        """Log the mean training loss and the learning rate that the last step had."""
        if self.train_loss is not None:
            self.log("train_loss", self.train_loss)
            self.log("lr", self.learning_rate)
        self._train_loss, self._train_steps = None, 0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what this epoch's steps have added up to, for a checkpoint in its middle."""
        checkpoint["steps"] = {"loss": self._train_loss, "count": self._train_steps, "lr": self._lr}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up; a checkpoint of anything but training has none."""
        if steps := checkpoint.get("steps"):
            self._train_loss, self._train_steps, self._lr = steps["loss"], steps["count"], steps["lr"]
            if self._train_loss is not None:
                self._train_loss = self._train_loss.to(self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Accumulate the validation metrics."""
        self._accumulate(self.val_metrics, batch)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_and_reset(self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Accumulate the test metrics."""
        self._accumulate(self.test_metrics, batch)

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_and_reset(self.test_metrics)

    def _accumulate(self, metrics: MetricCollection, batch: Batch) -> None:
        images, labels = batch
        logits = self(images).float()
        for name, metric in metrics.items(keep_base=True):
            if name == "loss":
                metric.update(nn.functional.cross_entropy(logits, labels, reduction="none"))
            else:
                metric.update(logits, labels)

    def _log_and_reset(self, metrics: MetricCollection) -> None:
        for name, value in metrics.compute().items():
            self.log(name, value if name.endswith("loss") else 100 * value)
        metrics.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build SGD and its schedule, which moves every step."""
        recipe = self.recipe
        optimizer = torch.optim.SGD(
            weight_groups(self.net, recipe),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=True,  # the same numbers in one pass over the weights
        )
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = build_schedule(optimizer, recipe, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def weight_groups(net: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Divide the weights into those that decay and, with `decay: no_norm_bias`, those that do not.

    Weights of heads always decay, whatever their shape, so that no head is treated unlike another.
    """
    if recipe.decay == "all":
        return [{"params": list(net.parameters())}]
    decays: dict[nn.Parameter, bool] = {}  # weights that layers share are there once
    for module in net.modules():
        norm = isinstance(module, (_NormBase, nn.GroupNorm, nn.LayerNorm))
        for name, weight in module.named_parameters(recurse=False):
            decays.setdefault(weight, not norm and name != "bias")
    decayed, free = ([weight for weight, does in decays.items() if does is group] for group in (True, False))
    return [{"params": decayed}, {"params": free, "weight_decay": 0.0}]


def build_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> LRScheduler:
    """Return the learning rate's schedule over `steps` optimiser steps.

    `recipe.epochs` divides the steps into epochs, for the warm-up and for the drops of `step`.
    """
    epoch = steps / recipe.epochs
    if recipe.schedule == "one_cycle":
        return OneCycleLR(optimizer, max_lr=recipe.lr, total_steps=steps, cycle_momentum=False)
    warmup = min(round(recipe.warmup_epochs * epoch), steps - 1)
    main: LRScheduler
    if recipe.schedule == "cosine":
        main = CosineAnnealingLR(optimizer, T_max=steps - warmup)
    else:
        drops = range(1, math.ceil(recipe.epochs / recipe.step_epochs))
        milestones = [round(drop * recipe.step_epochs * epoch) - warmup for drop in drops]
        main = MultiStepLR(optimizer, milestones=milestones, gamma=recipe.step_factor)
    if not warmup:
        return main
    rise = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return SequentialLR(optimizer, [rise, main], milestones=[warmup])
