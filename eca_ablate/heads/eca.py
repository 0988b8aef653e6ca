"""Efficient channel attention: a band of k neighbouring channels, with weights of their own (NS) or shared (ECA)."""

from __future__ import annotations

from typing import Self, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from eca_ablate.heads.base import ChannelHead, Cost, free_entries, whole_number
from eca_ablate.heads.se import SEVar2
from eca_ablate.kernel_size import Rounding, adaptive_kernel_size


@final
class ECANS(ChannelHead):
    """logits_i = Σ_j w_ij y_{i+j}, |j| <= (k-1)/2: every channel weighs its k neighbours with weights of its own.

    Weights: kC. Zero padding at both ends leaves (k²-1)/4 of them without effect, so kC is the nominal count, which
    the paper prints, and kC - (k²-1)/4 the effective one. Source: Eq. (7), Table 2, "ECA-NS". Deviation: the rows of
    Eq. (6) begin at the diagonal; like the official code we centre the band.

    Args:
        channels: C, of the map.
        kernel_size: k, odd and at most 2C-1.

    Raises:
        ValueError: if k is even, below 1 or above 2C-1.
    """

    name = "eca_ns"
    title = "ECA-NS"

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__(channels)
        self.kernel_size = odd_kernel_size(kernel_size, channels)
        self.weight = free_entries(channels, kernel_size, per_row=kernel_size)

    def logits(self, y: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel"]:
        """Each channel's neighbourhood times its own row."""
        return weighted_neighbours(y, self.weight)

    def matrix(self) -> Float[Tensor, "channel channel"]:
        """Return the band matrix."""
        return band(self.weight)

    def cost(self) -> Cost:
        """KC weights, each used once."""
        weights = self.kernel_size * self.channels
        return Cost(weights=weights, macs=weights)

    @classmethod
    def formula(cls, *args: object, **options: object) -> str:  # noqa: ARG003  (kC at any k)
        """K a channel."""
        return "kC"

    def description(self) -> dict[str, object]:
        """Name and k; with k = 1 it is SE-Var2."""
        return {"name": self.name, "kernel_size": self.kernel_size} if self.kernel_size > 1 else {"name": SEVar2.name}


@final
class ECA(ChannelHead):
    """logits = Conv1d_k(y) along the channels, zero padding, no bias: the k weights are shared by all channels.

    Weights: k. Source: Eq. (8) and (9), Table 2, "ECA"; names of weights as in the official `eca_module.py`.

    Args:
        channels: C, of the map.
        kernel_size: k, odd and at most 2C-1.

    Raises:
        ValueError: if k is even, below 1 or above 2C-1.
    """

    name = "eca"
    title = "ECA"

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__(channels)
        self.kernel_size = odd_kernel_size(kernel_size, channels)
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.conv.weight = free_entries(1, 1, kernel_size, per_row=kernel_size)

    @classmethod
    def adaptive(cls, channels: int, gamma: float = 2, b: float = 1, rounding: Rounding = "code") -> Self:
        """Build with k = |log2(C)/γ + b/γ|_odd, Eq. (12)."""
        return cls(channels, adaptive_kernel_size(channels, gamma, b, rounding))

    @classmethod
    def from_options(
        cls,
        channels: int,
        kernel_size: int | None = None,
        gamma: float | None = None,
        b: float | None = None,
        rounding: Rounding | None = None,
    ) -> Self:
        """Build with a given k, or by the rule; with no option at all by the rule with the paper's γ = 2, b = 1.

        Raises:
            ValueError: if k and a part of the rule are both given, or one of them is out of range.
        """
        rule = {"gamma": gamma, "b": b, "rounding": rounding}
        given = {name: value for name, value in rule.items() if value is not None}
        if kernel_size is None:
            for name in ("gamma", "b"):
                if isinstance(given.get(name, 0), (bool, str)) or not isinstance(given.get(name, 0), (int, float)):
                    raise ValueError(f"`{name}` must be a number, but got {given[name]!r}")
            return cls.adaptive(channels, **given)  # type: ignore[arg-type]
        if given:
            raise ValueError(
                "`eca` takes either `kernel_size` or the rule's `gamma`, `b` and `rounding`, but got "
                f"kernel_size={kernel_size} and {', '.join(f'{name}={value}' for name, value in given.items())}"
            )
        return cls(channels, kernel_size)

    def logits(self, y: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel"]:
        """Convolve along the channels; as a sum of products, which for one feature is faster than Conv1d."""
        return weighted_neighbours(y, self.conv.weight[0])

    def matrix(self) -> Float[Tensor, "channel channel"]:
        """Return the banded Toeplitz matrix."""
        return band(self.conv.weight.view(1, -1).expand(self.channels, -1))

    def cost(self) -> Cost:
        """K weights, each used once a channel."""
        return Cost(weights=self.kernel_size, macs=self.kernel_size * self.channels)

    @classmethod
    def formula(cls, *args: object, **options: object) -> str:  # noqa: ARG003  (the same by rule or by number)
        """K a block."""
        return "k"

    def description(self) -> dict[str, object]:
        """Name and k."""
        return {"name": self.name, "kernel_size": self.kernel_size}


def odd_kernel_size(kernel_size: object, channels: int) -> int:
    """Return k if it is one that keeps C channels and reaches no further than them.

    Raises:
        ValueError: stating which of the three conditions fails.
    """
    k = whole_number("kernel_size", kernel_size)
    if k > 2 * channels - 1:
        raise ValueError(
            f"`kernel_size <= 2C - 1` must hold, since wider reaches only padding, but got {k} for C = {channels}; "
            f"the largest is {2 * channels - 1}"
        )
    if k % 2 == 0:
        near = f"{k - 1} or {k + 1}"
        raise ValueError(f"`kernel_size` must be odd to keep {channels} channels, but got {k}; try {near}")
    return k


def weighted_neighbours(
    y: Float[Tensor, "batch channel"], weight: Float[Tensor, "row k"]
) -> Float[Tensor, "batch channel"]:
    """Return Σ_j w_ij y_{i+j}, |j| <= (k-1)/2, with zeros beyond the ends.

    Args:
        y: the squeezed map.
        weight: one row for all channels, or one each.
    """
    channels, k = y.shape[1], weight.shape[1]
    padded = functional.pad(y, (k // 2, k // 2))
    neighbours = torch.stack([padded[:, j : j + channels] for j in range(k)])
    return (neighbours * weight.t()[:, None, :]).sum(0)


def band(rows: Float[Tensor, "channel k"]) -> Float[Tensor, "channel channel"]:
    """Lay row i of `rows` along row i of a square matrix, centred on the diagonal; what sticks out is cut off."""
    channels, k = rows.shape
    i = torch.arange(channels, device=rows.device)[:, None]
    wide = rows.new_zeros(channels, channels + k - 1)
    wide = wide.index_put((i, i + torch.arange(k, device=rows.device)), rows)
    return wide[:, k // 2 : k // 2 + channels]
