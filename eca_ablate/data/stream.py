"""Images decoded while training, for trees that fit on no device; worker processes, and the same result without."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms.v2.functional as TF
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from eca_ablate.data.augment import AREA, RATIO, draw_flips, generator
from eca_ablate.data.resume import Resumable
from eca_ablate.data.sets import StreamPart
from eca_ablate.errors import DataError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
EVAL_MARGIN = 256 / 224  # evaluation resizes the shorter side to this times the crop


class StreamedImages(Dataset[tuple[Tensor, int]]):
    """Decodes, crops and normalises one image; the randomness is a function of (seed, epoch, index) alone.

    Args:
        root: folder of the tree.
        part: its files and labels.
        size: side of the result in pixels.
        augment: `resized_crop`, or `none` for the evaluation's resize and central crop.
        flip: mirror every second image; for training alone.
        seed: of the augmentation.
    """

    def __init__(self, root: Path, part: StreamPart, size: int, augment: bool, flip: bool, seed: int) -> None:
        self.root, self.size = root, size
        # Arrays of bytes: a list of strings would be copied into every worker, one reference count after another.
        self.keys = np.array([os.fsencode(key) for key in part.keys])
        self.labels = part.labels
        self.augment, self.flip, self.seed = augment, flip, seed

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, where: tuple[int, int]) -> tuple[Float[Tensor, "3 size size"], int]:
        """Return image and label at (epoch, index).

        Raises:
            DataError: naming the file, if it is no readable image.
        """
        epoch, index = where
        path = self.root / os.fsdecode(self.keys[index])
        try:
            with Image.open(path) as file:
                image = file.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{path} is no readable image: {error}; replace or remove it") from error
        random = generator(self.seed, epoch, f"image {index}")
        image = self._cropped(image, random) if self.augment else self._centre(image)
        if self.flip and bool(draw_flips(1, random)):
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = TF.to_dtype(TF.pil_to_tensor(image), torch.float32, scale=True)
        return TF.normalize(pixels, list(IMAGENET_MEAN), list(IMAGENET_STD)), int(self.labels[index])

    def _cropped(self, image: Image.Image, random: torch.Generator) -> Image.Image:
        top, left, height, width = box_in(image.height, image.width, random)
        cut = (left, top, left + width, top + height)
        return image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=cut)

    def _centre(self, image: Image.Image) -> Image.Image:
        resized = TF.resize(image, [round(self.size * EVAL_MARGIN)], antialias=True)
        centred: Image.Image = TF.center_crop(resized, [self.size, self.size])
        return centred


def box_in(height: int, width: int, random: torch.Generator) -> tuple[float, float, float, float]:
    """Draw top, left, height and width of a crop, in pixels, from an image that need not be square.

    torchvision's distribution, as in `draw_boxes`; after ten boxes that do not fit, the centre at the nearest ratio.
    """
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    area = torch.empty(10).uniform_(*AREA, generator=random) * height * width
    ratio = torch.empty(10).uniform_(low, high, generator=random).exp_()
    across, down = torch.rand(2, generator=random).tolist()
    for wide, tall in zip((area * ratio).sqrt().tolist(), (area / ratio).sqrt().tolist(), strict=True):
        if wide <= width and tall <= height:
            return down * (height - tall), across * (width - wide), tall, wide
    wide, tall = min(float(width), height * RATIO[1]), min(float(height), width / RATIO[0])
    return (height - tall) / 2, (width - wide) / 2, tall, wide


class EpochSampler(Sampler[list[tuple[int, int]]]):
    """Yields batches of (epoch, index), since workers that persist learn of the epoch in no other way.

    Args:
        count: images.
        batch_size: images a batch.
        shuffle: by (seed, epoch), leaving out the last, smaller batch unless it is the only one; otherwise all
            images in their order.
        seed: of the order.
    """

    def __init__(self, count: int, batch_size: int, shuffle: bool, seed: int) -> None:
        self.count, self.shuffle, self.seed = count, shuffle, seed
        self.batch_size = min(batch_size, count)
        self.epoch, self.first = 0, 0

    def begin(self, epoch: int, first: int) -> None:
        """Say which epoch the next iteration is of, and its first batch."""
        self.epoch, self.first = epoch, first

    def __len__(self) -> int:
        return self.count // self.batch_size if self.shuffle else -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        if self.shuffle:
            order = torch.randperm(self.count, generator=generator(self.seed, self.epoch, "order")).tolist()
        else:
            order = list(range(self.count))
        for batch in range(self.first, len(self)):
            here = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [(self.epoch, index) for index in here]


class StreamBatches(Resumable):
    """Batches from a DataLoader whose workers persist: one for every core but one, none on a single core.

    The DataLoader begins to read ahead as soon as it is asked for an iterator, which a trainer does before its
    epoch is known; here nothing begins before the first batch is asked for.

    Args:
        images: decoded in the workers.
        sampler: which of them make a batch.
        epoch: asked when an iteration begins.
        pin: whether batches are put into pinned memory, for a GPU.
    """

    def __init__(self, images: StreamedImages, sampler: EpochSampler, epoch: Callable[[], int], pin: bool) -> None:
        super().__init__(epoch)
        self._order = sampler
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.loader: DataLoader[tuple[Tensor, int]] = DataLoader(
            images,
            batch_sampler=sampler,
            num_workers=cores - 1,
            persistent_workers=cores > 1,
            pin_memory=pin,
            collate_fn=_collate,
        )

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[tuple[Float[Tensor, "batch 3 size size"], Int64[Tensor, " batch"]]]:
        epoch, first = self.begin()
        self._order.begin(epoch, first)
        try:
            for batch, ready in enumerate(self.loader, start=first + 1):
                self.handed_out(epoch, batch)
                yield ready
        except DataError as error:  # a worker's comes with the traceback that it had there
            raise DataError(str(error).rpartition("DataError: ")[2].strip()) from error


def _collate(items: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    images = torch.stack([image for image, _ in items]).to(memory_format=torch.channels_last)
    return images, torch.tensor([label for _, label in items])
