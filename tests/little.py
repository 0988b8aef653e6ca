"""Experiments small enough for a test: a ResNet-20 of a quarter of its width on digits, for an epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eca_ablate.config import BackboneConfig, DataConfig, Experiment, Recipe

HEADS = ("none", {"name": "eca", "kernel_size": 3})


def little(**changes: Any) -> Experiment:
    """Return a small experiment; keys of the recipe may be given by their own names."""
    recipe = {name: changes.pop(name) for name in list(changes) if hasattr(Recipe, name)}
    experiment = Experiment(
        data=DataConfig("digits"),
        backbone=BackboneConfig("resnet20", width=0.25),
        recipe=replace(Recipe(epochs=1, batch_size=64, precision="fp32"), **recipe),
        seeds=1,
        heads=list(HEADS),
    )
    return replace(experiment, **changes)


def noise_images(root: Path, **counts: int) -> Path:
    """Write a folder of small random images for each class, and return the root."""
    random = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (18, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:03d}.png")
    return root
