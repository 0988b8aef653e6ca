"""What the tests of speed and memory of the channel heads share: names, layouts, and a count of the maps they make."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from eca_ablate.heads import HEADS, ChannelHead

NAMES = [name for name, head in HEADS.items() if issubclass(head, ChannelHead)]
OPTIONS: dict[str, dict[str, Any]] = {"se_gc": {"groups": 4}}
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


class NewMaps(TorchDispatchMode):
    """Counts the new tensors of a map's size or more."""

    def __init__(self, elements: int) -> None:
        super().__init__()
        self.elements, self.seen, self.count = elements, set[int](), 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.untyped_storage().nbytes() >= self.elements * out.element_size():
            inputs = {a.untyped_storage().data_ptr() for a in args if isinstance(a, Tensor)}
            self.count += out.untyped_storage().data_ptr() not in inputs
        return out
