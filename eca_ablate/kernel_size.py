"""The kernel size of ECA from the number of channels: k = |log2(C)/γ + b/γ|_odd, Eq. (12) of the paper.

Standard library only, so that a plan, a table or a notebook can use it without torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Rounding = Literal["code", "nearest"]

# The kernel size of each stage in the released models (README of the official code): tuned by hand for each
# model, none of them follows Eq. (12). MobileNetV2 has k = 1 below 96 channels and 3 from there on.
RELEASED: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "released_resnet18": (3, 5, 7, 7),
        "released_resnet34": (3, 3, 5, 7),
        "released_resnet50": (3, 5, 5, 7),
        "released_resnet101": (3, 3, 5, 7),
        "released_resnet152": (3, 3, 5, 7),
        "released_mobilenet_v2": (1, 1, 1, 1, 3, 3, 3),
    }
)


def adaptive_kernel_size(channels: int, gamma: float = 2, b: float = 1, rounding: Rounding = "code") -> int:
    """Return the odd kernel size that ECA gives to a map with this many channels.

    With t = (log2(C) + b) / γ, the paper asks for "the nearest odd number" to |t| and leaves open what happens
    when t is an even integer, which lies between two odd numbers:

    - `code`: int(|t|), plus 1 if that is even. The official figure; an even t goes up. (timm does the same with
      a floor of 3 where ours is 1.)
    - `nearest`: the nearest odd number, an even t goes down.

    For γ = 2, b = 1 they differ only at C = 8, 128 and 2048, which decides between 86 and 80 attention weights on
    ResNet-50. Note that |t| < 1 gives k = 1: a gate without any cross-channel interaction.

    Args:
        channels: C, the channels of the map that the head rescales (a residual block's *output*).
        gamma: γ > 0, how many doublings of C widen the kernel by one.
        b: the offset in the same units as log2(C); may be negative.
        rounding: `code` or `nearest`.

    Returns:
        k, odd and at least 1.

    Raises:
        ValueError: if channels < 1, γ <= 0 or too small, b is not finite, or the rounding is unknown.
    """
    if channels < 1:
        raise ValueError(f"`channels >= 1` must hold, but got {channels}")
    if not (gamma > 0 and math.isfinite(gamma)):
        raise ValueError(f"`gamma > 0` must hold, but got {gamma}; the paper uses 2")
    if not math.isfinite(b):
        raise ValueError(f"`b` must be finite, but got {b}; the paper uses 1")
    t = abs((math.log2(channels) + b) / gamma)
    if not math.isfinite(t):
        raise ValueError(f"`gamma` is too small for a kernel size to be a number: got {gamma}; the paper uses 2")
    if rounding == "code":
        k = int(t)
        return k if k % 2 else k + 1
    if rounding == "nearest":
        # Odd numbers are 2j + 1; t lies at j = (t - 1) / 2, and ties go to the smaller j.
        return max(1, 2 * math.ceil((t - 1) / 2 - 0.5) + 1)
    raise ValueError(f"`rounding` must be `code` or `nearest`, but got {rounding!r}")
