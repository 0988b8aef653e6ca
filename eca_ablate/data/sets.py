"""The data sets as a user asks for them: described, prepared, loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from eca_ablate.config import DataConfig, Recipe
from eca_ablate.data.cache import Entry
from eca_ablate.data.dataset import DataInfo, DataSet, Images, Indices, Labels, Listing, Part, Split
from eca_ablate.data.sources import SOURCES, Opened
from eca_ablate.data.splits import choose_classes, divide
from eca_ablate.errors import ConfigError

CROP_UP_TO = 64  # pixels; larger images are augmented as ImageNet's are


def describe(config: DataConfig) -> DataInfo:
    """Say what a data set is without downloading or decoding it.

    The fingerprint covers the content (for archives through the published checksum, so it is known before the
    download; for a streamed tree relative paths and sizes only) and neither its location nor the other keys of
    `config`.

    Raises:
        DataError: if the folder of an `imagefolder` is absent or cannot be used.
        ConfigError: if a chosen class does not exist.
    """
    return look(config)[0]


def look(config: DataConfig) -> tuple[DataInfo, Opened]:
    """Return `describe(config)`, and for `load` and `streams` what it found: a large tree is not to be read twice."""
    opened = SOURCES[config.name].open(config)
    return _describe(config, opened), opened


def prepare(config: DataConfig) -> DataInfo:
    """Download, verify and decode once into the cache; nothing happens if that is done already.

    Raises:
        DataError: if the archive cannot be had or is altered, or an image cannot be read.
        ConfigError: if a chosen class does not exist.
    """
    info, opened = look(config)
    if not info.prepared:
        _entry(config, opened).read_or_build(lambda: opened.build(image_size(config)))
        info = _describe(config, opened)
    return info


def load(config: DataConfig, opened: Opened | None = None) -> DataSet:
    """Return the three splits in memory, prepared first if they are not.

    Args:
        config: which images.
        opened: what `look` found, if it said that they are prepared.

    Raises:
        DataError: as `prepare`.
        ConfigError: as `describe`; or if the images are to be streamed.
    """
    if config.stream:
        raise ConfigError("data.stream", "streamed images are not loaded as a whole; use `AblationData`")
    opened = opened or SOURCES[config.name].open(config)
    size = image_size(config)
    if opened.keep:
        listing, images = _entry(config, opened).read_or_build(lambda: opened.build(size))
    else:
        listing, images = opened.build(size)
    chosen = choose_classes(listing.classes, config.classes)
    labels = _relabel(listing, chosen)
    parts = {
        split: Part(np.ascontiguousarray(images[where]), labels[where])
        for split, where in divide(listing, config).items()
    }
    mean, std = moments(parts[Split.TRAIN].images)
    return DataSet(
        train=parts[Split.TRAIN],
        validation=parts[Split.VALIDATION],
        test=parts[Split.TEST],
        classes=chosen,
        mean=mean,
        std=std,
        flip=SOURCES[config.name].flip,
    )


@dataclass(frozen=True)
class StreamPart:
    """One split of a streamed tree.

    Args:
        keys: paths relative to the tree's root.
        labels: int64, one an image.
    """

    keys: tuple[str, ...]
    labels: Labels


def streams(config: DataConfig, opened: Opened) -> dict[Split, StreamPart]:
    """Return which files each split of a streamed tree has, as `look` found it; the files are not opened."""
    listing = opened.listing
    assert listing is not None  # noqa: S101  (a tree can always be listed)
    labels = _relabel(listing, choose_classes(listing.classes, config.classes))
    return {
        split: StreamPart(tuple(listing.keys[i] for i in where), labels[where])
        for split, where in divide(listing, config).items()
    }


def resolve_augmentation(recipe: Recipe, info: DataInfo) -> Recipe:
    """Fill in `augment: auto` (`crop` up to 64 pixels, `resized_crop` above) and `flip`."""
    augment = recipe.augment
    if augment == "auto":
        augment = "crop" if info.image_size <= CROP_UP_TO else "resized_crop"
    return replace(recipe, augment=augment, flip=info.flip if recipe.flip is None else recipe.flip)


def image_size(config: DataConfig) -> int:
    """Return the side in pixels: the configured one, else the data set's own."""
    return config.image_size or SOURCES[config.name].image_size


def moments(images: Images) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return mean and standard deviation of each channel of `[n, h, w, 3]`, for values in 0 to 1.

    The sums are those of integers, so no rounding depends on the machine. A channel that never varies gets a
    standard deviation of 1.
    """
    flat = images.reshape(len(images), -1)
    total = np.zeros(flat.shape[1], dtype=np.int64)
    squares = np.zeros(flat.shape[1], dtype=np.int64)
    for start in range(0, len(flat), 1024):
        chunk = flat[start : start + 1024].astype(np.uint32)
        total += chunk.sum(axis=0, dtype=np.int64)
        squares += np.square(chunk).sum(axis=0, dtype=np.int64)
    count = flat.size // 3
    means, stds = [], []
    for channel in range(3):
        first, second = int(total[channel::3].sum()), int(squares[channel::3].sum())
        variance = (count * second - first * first) / (count * count * 255 * 255)
        means.append(first / (count * 255))
        stds.append(variance**0.5 or 1.0)
    return (means[0], means[1], means[2]), (stds[0], stds[1], stds[2])


def _describe(config: DataConfig, opened: Opened) -> DataInfo:
    listing, prepared = opened.listing, True
    if opened.keep and not config.stream:
        cached = _entry(config, opened).listing()
        prepared = cached is not None
        listing = listing or cached
    counts: dict[Split, Indices] = divide(listing, config) if listing is not None else {}
    sizes = {split: len(counts[split]) if counts else None for split in Split}
    return DataInfo(
        classes=choose_classes(opened.classes, config.classes),
        image_size=image_size(config),
        n_train=sizes[Split.TRAIN],
        n_validation=sizes[Split.VALIDATION],
        n_test=sizes[Split.TEST],
        fingerprint=opened.fingerprint,
        flip=SOURCES[config.name].flip,
        prepared=prepared,
    )


def _entry(config: DataConfig, opened: Opened) -> Entry:
    return Entry(f"{config.name}-{opened.fingerprint}-{image_size(config)}")


def _relabel(listing: Listing, chosen: tuple[str, ...]) -> Labels:
    """Number the chosen classes from 0; the others get -1, and are never looked at."""
    table = np.array([chosen.index(name) if name in chosen else -1 for name in listing.classes], dtype=np.int64)
    return table[listing.labels]
