"""Real images for the benchmarks where there are any: CIFAR-10, or its JPEG copy beside the checkout."""

from __future__ import annotations

import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from eca_ablate.config import DataConfig
from eca_ablate.data import describe
from eca_ablate.data.cache import cache_folder

ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10-jpeg.tar.xz"


def cifar10(fraction: float = 1.0) -> tuple[str, DataConfig] | None:
    """Return a title and the configuration of CIFAR-10, prepared if need be; None, saying so, where there is none.

    Args:
        fraction: of the training images.
    """
    own = DataConfig("cifar10", fraction=fraction)
    if describe(own).prepared:
        return "CIFAR-10", own
    if not ARCHIVE.exists():
        print(f"neither CIFAR-10 is prepared nor is there {ARCHIVE.name} in ../shared/data", file=sys.stderr)
        return None
    root = cache_folder() / "benchmarks" / "cifar10-jpeg"
    if not root.exists():
        part = root.with_suffix(".part")
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(part, filter="data")
        part.rename(root)
    config = DataConfig("imagefolder", root=str(root), image_size=32)
    return "CIFAR-10 (JPEG)", replace(config, fraction=fraction)


def noise(count: int) -> DataConfig:
    """Return the configuration of a tree of so many images of noise, 32 pixels wide and in ten classes.

    Written once, below the cache folder.
    """
    root = cache_folder() / "benchmarks" / f"noise-{count}"
    if not root.exists():
        part = root.with_suffix(".part")
        random = np.random.default_rng(0)
        for i in range(count + 100):
            place = part / ("train" if i < count else "test") / f"class{i % 10}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(place / f"{i:05d}.png")
        part.rename(root)
    return DataConfig("imagefolder", root=str(root), image_size=32)
