"""Where heads sit: after the last normalisation of every residual block, before the addition."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from eca_ablate.heads import Head
from eca_ablate.heads.base import ChannelHead, NoHead

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

    That normalisation becomes a `nn.Sequential(norm=..., head=...)`, so load pretrained weights before. In the terms of
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
            setattr(place.block, place.norm, NormAndHead(norm, head))
    return net


class NormAndHead(nn.Sequential):
    """A head behind its normalisation: one after the other in training, one pass over the map in evaluation."""

    def __init__(self, norm: nn.Module, head: nn.Module) -> None:
        super().__init__(OrderedDict(norm=norm, head=head))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, then apply the head.

        Both run on their own wherever something could tell: in training, under autograd or a compiler, with a
        normalisation that is not BatchNorm2d with running statistics, and with hooks on one of them.
        """
        norm, head = self
        if (
            isinstance(head, ChannelHead)
            and type(norm) is nn.BatchNorm2d
            and norm.affine
            and norm.running_var is not None
            and norm.running_mean is not None
            and not (norm.training or torch.is_grad_enabled() or torch.compiler.is_compiling())
            and not any(one._forward_hooks or one._forward_pre_hooks for one in self)
        ):
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            return head.after_affine(x, scale, torch.addcmul(norm.bias, norm.running_mean, scale, value=-1))
        out: Tensor = head(norm(x))
        return out


def heads_of(net: nn.Module) -> list[Head]:
    """Return the heads inside a network, in order; none for a vanilla one."""
    return [module for module in net.modules() if isinstance(module, Head)]
