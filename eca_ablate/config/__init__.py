"""What a user writes (`Experiment`) and what it comes down to (`RunConfig`); frozen, and free of torch.

An experiment asks one question. A run is one training: a pure function of its `RunConfig`, and `RunConfig.key()` is
its name in the study, in `runs.csv` and on disk.
"""

from eca_ablate.config.experiment import HEAD_LISTS, TABLE2, Experiment
from eca_ablate.config.parts import (
    CIFAR_BACKBONES,
    Augment,
    BackboneConfig,
    BackboneName,
    DataConfig,
    DataName,
    Decay,
    Precision,
    Recipe,
    Schedule,
)
from eca_ablate.config.run import SEMANTICS, RunConfig

__all__ = [
    "CIFAR_BACKBONES",
    "HEAD_LISTS",
    "SEMANTICS",
    "TABLE2",
    "Augment",
    "BackboneConfig",
    "BackboneName",
    "DataConfig",
    "DataName",
    "Decay",
    "Experiment",
    "Precision",
    "Recipe",
    "RunConfig",
    "Schedule",
]
