"""Where heads sit: after the last normalisation of every residual block, before the addition."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from eca_ablate.heads import Head
from eca_ablate.heads.base import NoHead

MakeHead = Callable[[int], nn.Module | None]

# The last normalisation of each kind of residual block; what follows it in the block's `forward` is the addition.
LAST_NORM: dict[type[nn.Module], str] = {BasicBlock: "bn2", Bottleneck: "bn3"}


class Place(NamedTuple):
    """One residual block.

    Args:
        block: the module itself.
        norm: the name of its last normalisation.
        stage: the number of its stage, from 0.
        channels: of its output, which a head there rescales.
    """

    block: nn.Module
    norm: str
    stage: int
    channels: int


def places(net: nn.Module) -> list[Place]:
    """Return the residual blocks of a ResNet without heads, in order.

    Raises:
        ValueError: if there are none, or if they have heads already.
    """
    found: list[Place] = []
    stages: list[str] = []
    for name, block in net.named_modules():
        norm = next((norm for kind, norm in LAST_NORM.items() if isinstance(block, kind)), None)
        if norm is None:
            continue
        last = getattr(block, norm)
        if isinstance(last, nn.Sequential):
            raise ValueError(f"block `{name}` has a head already; attach heads to a fresh network")
        stage = name.rpartition(".")[0]
        if stage not in stages:
            stages.append(stage)
        found.append(Place(block, norm, stages.index(stage), last.num_features))
    if not found:
        kinds = " or ".join(kind.__name__ for kind in LAST_NORM)
        raise ValueError(f"`{type(net).__name__}` has no residual blocks: heads follow torchvision's {kinds}")
    return found


def attach(net: nn.Module, make_head: MakeHead) -> nn.Module:
    """Put a head behind the last normalisation of every residual block, in place.

    That normalisation becomes `nn.Sequential(norm=..., head=...)`, so load pretrained weights before. In the terms of
    the block's own `forward`, bn2(conv2(·)) + x becomes **head(** bn2(conv2(·)) **)** + x, and nothing else changes.

    Args:
        net: any torchvision ResNet (ResNeXt and wide ones too), or a CIFAR ResNet of this package.
        make_head: called once a block, in order, with the channels of the block's output. Its module is inserted;
            for None or the head `none` nothing is.

    Returns:
        net.

    Raises:
        ValueError: if the network has no residual blocks, or has heads already.
    """
    found = places(net)
    heads = [make_head(place.channels) for place in found]  # all of them first: an error leaves the network as it was
    for place, head in zip(found, heads, strict=True):
        if head is not None and not isinstance(head, NoHead):
            norm = getattr(place.block, place.norm)
            setattr(place.block, place.norm, nn.Sequential(OrderedDict(norm=norm, head=head)))
    return net


def heads_of(net: nn.Module) -> list[Head]:
    """Return the heads inside a network, in order; none for a vanilla one."""
    return [module for module in net.modules() if isinstance(module, Head)]
