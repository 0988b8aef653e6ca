"""What a network costs: weights and multiply-accumulates, exact; speed, measured side by side."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from eca_ablate.backbones import heads_of


@dataclass(frozen=True)
class NetCost:
    """Counts for one network.

    Args:
        weights: trained scalars of the whole network.
        head_weights: those of its heads.
        macs: multiply-accumulates of convolutions and matrix products for one image, heads included.
        head_macs: those of its heads.
    """

    weights: int
    head_weights: int
    macs: int
    head_macs: int


def count(net: nn.Module, image_size: int) -> NetCost:
    """Count weights and multiply-accumulates of a network for one square RGB image.

    Nothing is computed: the network runs on shapes alone. A head's part comes from its own formula, since some heads
    are band products that no FLOP counter sees.

    Args:
        net: from images `[batch, 3, image_size, image_size]` to logits; left as it is.
        image_size: side in pixels.
    """
    heads = [head.cost() for head in heads_of(net)]
    vanilla = copy.deepcopy(net).to("meta").eval()
    for module in vanilla.modules():
        if isinstance(module, nn.Sequential) and hasattr(module, "head"):
            module.head = nn.Identity()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        vanilla(torch.empty(1, 3, image_size, image_size, device="meta"))
    head_macs = sum(cost.macs for cost in heads)
    return NetCost(
        weights=sum(weight.numel() for weight in net.parameters()),
        head_weights=sum(cost.weights for cost in heads),
        macs=counter.get_total_flops() // 2 + head_macs,
        head_macs=head_macs,
    )
