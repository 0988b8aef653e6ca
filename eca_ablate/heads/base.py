"""What every head is (`Head`), and what every channel head shares (`ChannelHead`): squeeze, gate and rescale."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from eca_ablate.heads.recalibration import affine, recalibrate, rescale, squeeze


@dataclass(frozen=True)
class Cost:
    """What a head adds to a network.

    Args:
        weights: trained scalars.
        macs: multiply-accumulates of its matrix products for one image. Squeeze and rescale are element-wise and
            not counted, just as batch normalisation and ReLU are not.
    """

    weights: int
    macs: int


class Head(nn.Module, ABC):
    """A module from feature map to feature map of the same shape, put into a backbone.

    A concrete head has a `name`, the key under which `HEADS` knows it, and a `title` for tables.

    Args:
        channels: C, of the map.

    Raises:
        ValueError: if channels < 1.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = whole_number("channels", channels)

    @classmethod
    def from_options(cls, *args: Any, **options: Any) -> Self:
        """Build the head from its channels and options as an experiment file writes them: the constructor's."""
        return cls(*args, **options)

    @classmethod
    @abstractmethod
    def formula(cls, *args: Any, **options: Any) -> str:
        """Return the number of weights in terms of C and the options as written, in the notation of Table 2."""

    @abstractmethod
    def cost(self) -> Cost:
        """Return weights and multiply-accumulates by formula; the tests count the tensors as a second witness."""

    def description(self) -> dict[str, Any]:
        """Return `{"name": ..., option: number}`, the same for heads that are the same function of their weights.

        SE-GC with one channel a group *is* SE-Var2, and says so: this keeps a network from being trained twice under
        two names.
        """
        return {"name": self.name}

    @abstractmethod
    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
        """Map a feature map to one of the same shape."""


class NoHead(Head):
    """The vanilla network: `attach` inserts nothing at all."""

    name = "none"
    title = "Vanilla"

    @classmethod
    def formula(cls) -> str:
        """No weights."""
        return "0"

    def cost(self) -> Cost:
        """Nothing."""
        return Cost(weights=0, macs=0)

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
        """Return x."""
        return x


class ChannelHead(Head):
    """σ(logits(GAP(x))) ⊙ x: a head of Table 2 defines its logits, and in nothing else do they differ.

    Section 3.1 of the paper: squeeze by global average pooling, gate every channel by a sigmoid, rescale the map.
    """

    @abstractmethod
    def logits(self, y: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel"]:
        """Return what goes into the sigmoid, from the squeezed map y."""

    @final
    def gate(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel"]:
        """Return the factor of every channel, within [0, 1] (low precision saturates), in the map's precision.

        Under autocast an element-wise product keeps the weights' float32 where a matrix product does not: without the
        cast SE-Var2 and ECA-NS, and they alone, would widen the map.
        """
        return self._gate(squeeze(x)).to(x.dtype)

    def _gate(self, y: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel"]:
        return torch.sigmoid(self.logits(y))

    @final  # type: ignore[misc]  # torch declares `forward` as an attribute
    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
        """Rescale every channel of x by its gate.

        Where a backward follows, `recalibrate` saves memory traffic; a compiler fuses the formula by itself.
        """
        if torch.compiler.is_compiling():
            return x * self.gate(x)[:, :, None, None]
        if torch.is_grad_enabled() and x.requires_grad:
            return recalibrate(x, self._gate)
        return rescale(x, self.gate(x))

    @final
    def after_affine(
        self,
        x: Float[Tensor, "batch channel height width"],
        scale: Float[Tensor, " channel"],
        shift: Float[Tensor, " channel"],
    ) -> Float[Tensor, "batch channel height width"]:
        """Return `self(scale · x + shift)`, one of each a channel, without making the map in between.

        The mean of an affine map is the affine map of the mean, and so is its multiple: normalisation in evaluation and
        the head behind it write the map once.
        """
        gate = self._gate(torch.addcmul(shift, squeeze(x), scale))
        return affine(x, (gate * scale).to(x.dtype), (gate * shift).to(x.dtype))

    def matrix(self) -> Float[Tensor, "channel channel"]:
        """Return W of a linear head, whose logits are W y.

        Raises:
            TypeError: if the logits are not a linear function of y.
        """
        raise TypeError(f"the logits of `{self.name}` are not linear in y, so it has no matrix")


def free_entries(*shape: int, per_row: int) -> nn.Parameter:
    """Draw the free entries of a matrix that has `per_row` of them in each row: U(-1/√n, 1/√n) with n = per_row.

    One rule for every head, so that none owes its accuracy to its start. It is PyTorch's default for linear layers and
    convolutions, which the official ECA-Net code leaves in place for the Conv1d of ECA (n = k) and the grouped one of
    ECA-NS, and which re-implementations of SE get from `nn.Linear`. Gates start near 1/2.
    """
    bound = 1 / math.sqrt(per_row)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


def whole_number(name: str, value: object, least: int = 1) -> int:
    """Return `value` if it is a whole number and large enough.

    Raises:
        ValueError: naming the option otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"`{name}` must be a whole number, but got {value!r}")
    if value < least:
        raise ValueError(f"`{name} >= {least}` must hold, but got {value}")
    return value
