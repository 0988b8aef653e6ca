"""Paired ablation studies of channel attention: ECA-Net's Table 2 on your own data.

The names below load on first use, so that reading results needs no torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "HEADS": "heads",
    "build_head": "heads",
    "attach": "backbones",
    "build_backbone": "backbones",
    "AttentionClassifier": "lit",
    "AblationData": "data",
    "adaptive_kernel_size": "kernel_size",
}
__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"eca_ablate.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'eca_ablate' has no attribute {name!r}")
