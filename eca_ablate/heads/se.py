"""Squeeze-and-excitation and the variants that Section 3.2 of the paper takes it apart with."""

from __future__ import annotations

from typing import Self, final

import torch
from jaxtyping import Float
from torch import Tensor

from eca_ablate.heads.base import ChannelHead, Cost, free_entries, whole_number


@final
class SE(ChannelHead):
    """logits = W2 ReLU(W1 y): two fully connected layers with dimensionality reduction, without biases.

    Weights: 2C²/r. Source: Table 2, "SE"; r = 16 without biases reproduces every parameter count of Table 3.

    Args:
        channels: C, of the map.
        reduction: r, which divides C.

    Raises:
        ValueError: if r does not divide C.
    """

    name = "se"
    title = "SE"

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__(channels)
        self.reduction = whole_number("reduction", reduction)
        if channels % reduction:
            raise ValueError(f"`reduction` must divide the {channels} channels, but got {reduction}")
        self.squeeze = free_entries(channels // reduction, channels, per_row=channels)
        self.excite = free_entries(channels, channels // reduction, per_row=channels // reduction)

    def logits(self, y: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel"]:
        """W2 ReLU(W1 y)."""
        return torch.relu(y @ self.squeeze.T) @ self.excite.T

    def cost(self) -> Cost:
        """2C²/r weights, each used once."""
        weights = 2 * self.channels**2 // self.reduction
        return Cost(weights=weights, macs=weights)

    @classmethod
    def formula(cls, reduction: int = 16) -> str:
        """2C²/r."""
        return f"2C²/{reduction}"

    def description(self) -> dict[str, object]:
        """Name and r."""
        return {"name": self.name, "reduction": self.reduction}


@final
class SEVar1(ChannelHead):
    """logits = y: every channel gates itself, nothing is learned. Weights: 0. Source: Table 2, "SE-Var1"."""

    name = "se_var1"
    title = "SE-Var1"

    def logits(self, y: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel"]:
        """Return y as it is."""
        return y

    def matrix(self) -> Float[Tensor, "channel channel"]:
        """Return the identity."""
        return torch.eye(self.channels)

    def cost(self) -> Cost:
        """Nothing."""
        return Cost(weights=0, macs=0)

    @classmethod
    def formula(cls) -> str:
        """No weights."""
        return "0"


@final
class SEVar2(ChannelHead):
    """logits = w ⊙ y: one weight a channel, no interaction. Weights: C. Source: Table 2, "SE-Var2"."""

    name = "se_var2"
    title = "SE-Var2"

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight = free_entries(channels, per_row=1)

    def logits(self, y: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel"]:
        """W ⊙ y."""
        return y * self.weight

    def matrix(self) -> Float[Tensor, "channel channel"]:
        """Return the diagonal matrix of w."""
        return torch.diag(self.weight)

    def cost(self) -> Cost:
        """C weights, each used once."""
        return Cost(weights=self.channels, macs=self.channels)

    @classmethod
    def formula(cls) -> str:
        """One a channel."""
        return "C"


@final
class SEVar3(ChannelHead):
    """logits = W y: one full layer, every channel sees every other. Weights: C². Source: Table 2, "SE-Var3"."""

    name = "se_var3"
    title = "SE-Var3"

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight = free_entries(channels, channels, per_row=channels)

    def logits(self, y: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel"]:
        """W y."""
        return y @ self.weight.T

    def matrix(self) -> Float[Tensor, "channel channel"]:
        """Return W."""
        return self.weight

    def cost(self) -> Cost:
        """C² weights, each used once."""
        return Cost(weights=self.channels**2, macs=self.channels**2)

    @classmethod
    def formula(cls) -> str:
        """All of them."""
        return "C²"


@final
class SEGC(ChannelHead):
    """logits = W y with block-diagonal W: full interaction within G groups of neighbouring channels, none between.

    Weights: C²/G. Source: Eq. (5) and Table 2: "SE-GC1" is 16 groups, "SE-GC2" groups of 16 channels, "SE-GC3" of 8.

    Args:
        channels: C, of the map.
        groups: G, which divides C.

    Raises:
        ValueError: if G does not divide C.
    """

    name = "se_gc"
    title = "SE-GC"

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels)
        self.groups = whole_number("groups", groups)
        if channels % groups:
            raise ValueError(f"`groups` must divide the {channels} channels, but got {groups}")
        size = channels // groups
        self.weight = free_entries(groups, size, size, per_row=size)

    @classmethod
    def from_options(cls, channels: int, groups: int | None = None, group_channels: int | None = None) -> Self:
        """Build from the number of groups or from the channels of each, one of the two.

        Raises:
            ValueError: if both or neither are given, or if they do not divide the channels.
        """
        if groups is not None and group_channels is None:
            return cls(channels, groups)
        if group_channels is not None and groups is None:
            if channels % whole_number("group_channels", group_channels):
                raise ValueError(f"`group_channels` must divide the {channels} channels, but got {group_channels}")
            return cls(channels, channels // group_channels)
        raise ValueError(
            "`se_gc` takes either `groups` or `group_channels`, but got "
            f"groups={groups} and group_channels={group_channels}; the paper's SE-GC1 is `groups: 16`"
        )

    def logits(self, y: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel"]:
        """Each group of y times its own block."""
        blocks = y.reshape(len(y), self.groups, self.channels // self.groups)
        return torch.einsum("bgi,goi->bgo", blocks, self.weight).flatten(1)

    def matrix(self) -> Float[Tensor, "channel channel"]:
        """Return the block-diagonal W."""
        matrix: Tensor = torch.block_diag(*self.weight)  # type: ignore[no-untyped-call]
        return matrix

    def cost(self) -> Cost:
        """C²/G weights, each used once."""
        weights = self.channels**2 // self.groups
        return Cost(weights=weights, macs=weights)

    @classmethod
    def formula(cls, groups: int | None = None, group_channels: int | None = None) -> str:
        """C²/G, or C times the channels of a group."""
        return f"C²/{groups}" if groups is not None else f"{group_channels}C"

    def description(self) -> dict[str, object]:
        """Name and G; one group is SE-Var3, and one channel a group SE-Var2."""
        if self.groups == 1:
            return {"name": SEVar3.name}
        if self.groups == self.channels:
            return {"name": SEVar2.name}
        return {"name": self.name, "groups": self.groups}
