"""The data sets: `describe`, `prepare` and `load` them, or hand `AblationData` to a Trainer."""

from __future__ import annotations

from eca_ablate.data.dataset import DataInfo, DataSet, Part, Split
from eca_ablate.data.module import AblationData
from eca_ablate.data.sets import describe, load, prepare, resolve_augmentation

__all__ = [
    "AblationData",
    "DataInfo",
    "DataSet",
    "Part",
    "Split",
    "describe",
    "load",
    "prepare",
    "resolve_augmentation",
]
