"""The networks that heads are put into: CIFAR ResNets and torchvision's ImageNet ResNets."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torchvision.models import get_model

from eca_ablate.backbones.cifar import CifarResNet
from eca_ablate.backbones.placement import MakeHead, Place, attach, heads_of, places
from eca_ablate.config import CIFAR_BACKBONES, BackboneConfig, BackboneName

__all__ = ["CifarResNet", "MakeHead", "Place", "attach", "build_backbone", "heads_of", "places"]


def build_backbone(
    name: BackboneName,
    num_classes: int,
    stem: Literal["imagenet", "cifar"] | None = None,
    width: float = 1.0,
    make_head: MakeHead | None = None,
) -> nn.Module:
    """Build a network with fresh weights, and put a head into each of its residual blocks.

    The backbone's weights are drawn before any head's, so for one seed they are the same whatever the head.

    Args:
        name: `resnet20`, `32`, `56` or `110` (CIFAR), `resnet18`, `34`, `50`, `101` or `152` (torchvision).
        num_classes: outputs.
        stem: `imagenet` (7×7 convolution, stride 2, max-pooling) or `cifar` (3×3, stride 1, no pooling); by default
            that of the original.
        width: multiplies the channels of a CIFAR ResNet.
        make_head: gives the head for a number of channels (see `attach`); None for the vanilla network.

    Returns:
        A module from images `[batch, 3, height, width]` to logits `[batch, num_classes]`.

    Raises:
        ConfigError: for an unknown name or stem, or a width that gives no whole number of channels.
        ValueError: if num_classes < 1.
    """
    config = BackboneConfig(name=name, stem=stem, width=width).resolve()
    if num_classes < 1:
        raise ValueError(f"`num_classes >= 1` must hold, but got {num_classes}")
    net: nn.Module
    if name in CIFAR_BACKBONES:
        net = CifarResNet(int(name.removeprefix("resnet")), num_classes, config.width)
    else:
        net = get_model(name, weights=None, num_classes=num_classes)
        if config.stem == "cifar":
            net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
            net.maxpool = nn.Identity()
    return attach(net, make_head) if make_head else net
