"""The words that the modules of `data` share: splits, a listing of labelled images, and what a data set is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Indices = NDArray[np.int64]


class Split(Enum):
    """The three disjoint parts: weights are learned on `train`, choices made on `validation`, claims on `test`."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class Listing:
    """Labelled images in a fixed order, as their source divides them; the pixels are elsewhere.

    Args:
        classes: names; a label is a position here.
        labels: one an image.
        parts: which of the source's own parts each image belongs to. A source without `Split.TEST` has none: a
            share of every class is then held out. A source without `Split.VALIDATION` likewise.
        keys: what the image is called where its source keeps it (a position or a relative path); never a location.
    """

    classes: tuple[str, ...]
    labels: Labels
    parts: tuple[Split, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One split in memory.

    Args:
        images: uint8 `[n, height, width, 3]`.
        labels: int64 `[n]`.
    """

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DataSet:
    """The three splits of a data set in memory.

    Args:
        train: images that weights are learned from.
        validation: images that choices are made on.
        test: images that are read once, at the end.
        classes: names; a label is a position here.
        mean: of each channel over `train`, for values in 0 to 1.
        std: standard deviation of the same; 1 for a channel that never varies.
        flip: whether mirrored images keep their meaning.
    """

    train: Part
    validation: Part
    test: Part
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    flip: bool

    def part(self, split: Split) -> Part:
        """Return one of the splits."""
        return {Split.TRAIN: self.train, Split.VALIDATION: self.validation, Split.TEST: self.test}[split]


@dataclass(frozen=True)
class DataInfo:
    """What is known of a data set without decoding it.

    Args:
        classes: names, after `DataConfig.classes` has chosen among them.
        image_size: side in pixels.
        n_train: images, `None` while the archive has not been fetched; likewise the next two.
        n_validation: images.
        n_test: images.
        fingerprint: of the content, wherever it lies; 32 hexadecimal digits.
        flip: whether mirrored images keep their meaning.
        prepared: whether `load` can start without downloading or decoding.
    """

    classes: tuple[str, ...]
    image_size: int
    n_train: int | None
    n_validation: int | None
    n_test: int | None
    fingerprint: str
    flip: bool
    prepared: bool

    @property
    def num_classes(self) -> int:
        """Return how many classes there are."""
        return len(self.classes)
