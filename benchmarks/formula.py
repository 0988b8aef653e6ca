"""The formula of a channel head as one writes it: the reference of values and of speed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eca_ablate.heads import ChannelHead

LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


class Plain(nn.Module):
    """The formula as one writes it, around the weights of a head of this package."""

    def __init__(self, head: ChannelHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Return x * gate(x)."""
        return x * torch.sigmoid(self.head.logits(x.mean((2, 3)))).to(x.dtype)[:, :, None, None]
