"""Batches from images that live on the device: no worker processes, and no Python for single images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from eca_ablate.data.augment import (
    Normaliser,
    crop,
    draw_boxes,
    draw_flips,
    draw_offsets,
    generator,
    pad,
    resized_crop,
)
from eca_ablate.data.dataset import Part
from eca_ablate.data.resume import Resumable

Augment = Literal["none", "crop", "resized_crop"]
Batch = tuple[Float[Tensor, "batch 3 size size"], Int64[Tensor, " batch"]]


class TrainBatches(Resumable):
    """Shuffled, augmented batches; order and augmentation are functions of (seed, epoch) alone.

    The last, smaller batch of an epoch is left out, unless it is the only one. A checkpoint in the middle of an
    epoch resumes with the batch that would have come next.

    Args:
        part: the images.
        normalise: applied last.
        batch_size: images a batch.
        augment: `none`, `crop` (zero padding by an eighth) or `resized_crop`.
        flip: mirror every second image.
        seed: of order and augmentation.
        epoch: asked when an iteration begins.
        device: where the images are kept and the batches made.
    """

    def __init__(
        self,
        part: Part,
        normalise: Normaliser,
        batch_size: int,
        augment: Augment,
        flip: bool,
        seed: int,
        epoch: Callable[[], int],
        device: torch.device,
    ) -> None:
        super().__init__(epoch)
        images = torch.from_numpy(part.images).to(device)
        self.size = images.shape[1]
        self.images = pad(images) if augment == "crop" else images
        self.labels = torch.from_numpy(part.labels).to(device)
        self.normalise = normalise
        self.batch_size = min(batch_size, len(part))
        self.augment = augment
        self.flip = flip
        self.seed = seed

    def __len__(self) -> int:
        return len(self.labels) // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        epoch, first = self.begin()
        count, device = len(self.labels), self.labels.device
        order = torch.randperm(count, generator=generator(self.seed, epoch, "order")).to(device)
        flips = draw_flips(count, generator(self.seed, epoch, "flip")).to(device) if self.flip else None
        places = self._places(count, epoch)
        for batch in range(first, len(self)):
            here = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            which = order[here]
            self.handed_out(epoch, batch + 1)
            mirrored = None if flips is None else flips[here]
            yield self._images(which, places, here, mirrored), self.labels.index_select(0, which)

    def _places(self, count: int, epoch: int) -> Tensor | None:
        random = generator(self.seed, epoch, self.augment)
        if self.augment == "crop":
            return draw_offsets(count, self.size, random).to(self.labels.device)
        if self.augment == "resized_crop":
            return draw_boxes(count, random).to(self.labels.device)
        return None

    def _images(self, which: Tensor, places: Tensor | None, here: slice, flips: Tensor | None) -> Tensor:
        if places is not None and self.augment == "crop":
            return self.normalise(crop(self.images, which, places[here], flips, self.size))
        images = self.images.index_select(0, which)
        if places is not None:
            return self.normalise(resized_crop(images, places[here], flips))
        if flips is not None:
            images = torch.where(flips[:, None, None, None], images.flip(2), images)
        return self.normalise(images)


class EvalBatches:
    """All images in their fixed order, as they are; the last batch may be smaller.

    Args:
        part: the images.
        normalise: applied to each batch.
        batch_size: images a batch.
        device: where the images are kept.
    """

    def __init__(self, part: Part, normalise: Normaliser, batch_size: int, device: torch.device) -> None:
        self.images = torch.from_numpy(part.images).to(device)
        self.labels = torch.from_numpy(part.labels).to(device)
        self.normalise = normalise
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.labels), self.batch_size):
            here = slice(start, start + self.batch_size)
            yield self.normalise(self.images[here]), self.labels[here]
