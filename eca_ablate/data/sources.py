"""Where the images come from: the registry of data sets and what each can say before it is decoded."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from eca_ablate.config import DataConfig, DataName
from eca_ablate.data import archives, folder, names
from eca_ablate.data.cache import cache_folder
from eca_ablate.data.dataset import Images, Listing, Split
from eca_ablate.data.decode import decode_all, resize_all
from eca_ablate.data.download import Archive, fetch


@dataclass(frozen=True)
class Opened:
    """One data set, found but not decoded.

    Args:
        classes: all that can be chosen from.
        fingerprint: of the content.
        listing: the images, where they can be listed without downloading anything.
        build: decodes all of them to a side in pixels; downloads if it has to.
        keep: whether what `build` returns is worth keeping on disk.
    """

    classes: tuple[str, ...]
    fingerprint: str
    listing: Listing | None
    build: Callable[[int], tuple[Listing, Images]]
    keep: bool = True


class Source(ABC):
    """A data set of the registry.

    Attributes:
        image_size: side in pixels where the configuration names none.
        flip: whether mirrored images keep their meaning.
    """

    image_size: int
    flip: bool = True

    @abstractmethod
    def open(self, config: DataConfig) -> Opened:
        """Say what is there; cheap, and never downloads."""


class Digits(Source):
    """The 1,797 handwritten digits that come with scikit-learn: 8 x 8, grey, 0 to 16 scaled to 0 to 255."""

    image_size = 8
    flip = False

    def open(self, config: DataConfig) -> Opened:
        """See `Source`."""
        listing, images = _digits()
        content = hashlib.sha256(images.tobytes() + listing.labels.tobytes()).hexdigest()[:32]
        return Opened(listing.classes, content, listing, lambda size: (listing, resize_all(images, size)), keep=False)


@dataclass(frozen=True)
class Published(Source):
    """An archive on the web, identified by the checksum that its publisher gives.

    Args:
        archive: where it is and its checksum.
        classes: names.
        image_size: side in pixels where the configuration names none.
        read: gives listing and images from the archive's path, the classes and the side in pixels.
    """

    archive: Archive
    classes: tuple[str, ...]
    image_size: int
    read: Callable[[Path, Sequence[str], int], tuple[Listing, Images]]

    def open(self, config: DataConfig) -> Opened:
        """See `Source`; the counts are known once it has been prepared."""
        content = hashlib.sha256(f"md5:{self.archive.md5}".encode()).hexdigest()[:32]
        return Opened(self.classes, content, None, self._build)

    def _build(self, size: int) -> tuple[Listing, Images]:
        return self.read(fetch(self.archive, cache_folder() / "archives"), self.classes, size)


class ImageFolder(Source):
    """The user's own class-per-folder tree; listed, checked and hashed when it is opened."""

    image_size = 96

    def open(self, config: DataConfig) -> Opened:
        """See `Source`; the fingerprint covers the chosen classes."""
        root = Path(config.root or "").expanduser()
        listing = folder.scan(root, config.classes)
        content = folder.fingerprint(root, listing, whole=not config.stream)
        return Opened(listing.classes, content, listing, partial(self._build, root, listing))

    @staticmethod
    def _build(root: Path, listing: Listing, size: int) -> tuple[Listing, Images]:
        files = [root / key for key in listing.keys]
        images = decode_all(
            [str(file) for file in files], lambda i: files[i].read_bytes(), size, f"decoding {root.name}"
        )
        return listing, images


SOURCES: Mapping[DataName, Source] = {
    "digits": Digits(),
    "cifar10": Published(
        Archive("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
        names.CIFAR10,
        32,
        archives.read_cifar10,
    ),
    "cifar100": Published(
        Archive("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),
        names.CIFAR100,
        32,
        archives.read_cifar100,
    ),
    "tiny_imagenet": Published(
        Archive("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"),
        names.TINY_IMAGENET,
        64,
        archives.read_tiny_imagenet,
    ),
    "imagenette": Published(
        Archive(
            "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",
            "e793b78cc4c9e9a4ccc0c1155377a412",
        ),
        tuple(names.IMAGENETTE.values()),
        128,
        partial(archives.read_imagenette, folders=tuple(names.IMAGENETTE)),
    ),
    "imagefolder": ImageFolder(),
}


@cache
def _digits() -> tuple[Listing, Images]:
    from sklearn.datasets import load_digits  # takes a second to import, which the other data sets can do without

    bunch = load_digits()
    grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    count = len(grey)
    listing = Listing(
        classes=tuple(str(name) for name in bunch.target_names),
        labels=bunch.target.astype(np.int64),
        parts=(Split.TRAIN,) * count,
        keys=tuple(str(position) for position in range(count)),
    )
    return listing, np.repeat(grey[..., None], 3, axis=3)
