"""Experiments small enough for a test: a ResNet-20 of a quarter of its width on digits, for an epoch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
