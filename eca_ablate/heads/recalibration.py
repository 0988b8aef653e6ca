"""Squeeze and rescale with as little memory traffic as they need: the map is what costs, not the gate between them.

Written as `x * gate(x.mean((2, 3)))`, autograd's backward reads and writes whole maps that nobody asked for: the
product of map and gradient before it is summed, and the two gradients of the map before they are added. The pair below
computes the same gradients. Its forward reads the map twice and writes it once; its backward reads the map once and the
gradient twice, and writes one map.

The two belong together. The gradient that `_Rescale` hands to the map is not the map's, but that of its own output;
`_Squeeze`, whose backward comes last, rescales it while it adds its own share, in one pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

Map = Float[Tensor, "batch channel height width"]
Vector = Float[Tensor, "batch channel"]

# Elements of the product that are summed at a time on a CPU, so that they stay in its cache.
_CHUNK = 2**18


def recalibrate(x: Map, gate_of: Callable[[Vector], Vector]) -> Map:
    """Return the map with every channel multiplied by its gate.

    Args:
        x: the map.
        gate_of: from the means over height and width to the gates; rounded to the map's type.
    """
    kept = _Kept()
    squeezed, same = _Squeeze.apply(x, kept)
    gate = gate_of(squeezed).to(x.dtype)
    kept.gate = gate.detach()
    rescaled: Map = _Rescale.apply(same, gate)
    return rescaled


class _Kept:
    """What the two functions share: the gate without its graph, since a graph that held itself would never be freed."""

    gate: Tensor


class _Squeeze(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: _Kept) -> tuple[Tensor, Tensor]:
        ctx.kept = kept
        ctx.pixels = x.shape[2] * x.shape[3]
        return x.mean((2, 3)), x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, squeezed: Tensor, rescaled: Tensor) -> tuple[Tensor, None]:
        """Return rescaled · gate + squeezed / pixels."""
        gate = ctx.kept.gate[:, :, None, None]
        share = (squeezed / ctx.pixels).to(rescaled.dtype)[:, :, None, None]
        if rescaled.is_contiguous(memory_format=torch.channels_last):
            return torch.addcmul(share, rescaled, gate), None
        return (rescaled * gate).add_(share), None  # addcmul is slow where the broadcast is not along rows


class _Rescale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * gate[:, :, None, None]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient of the output as it is, for `_Squeeze` to rescale, and that of the gate."""
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradient, sum_of_products(gradient, x)


def sum_of_products(a: Map, b: Map) -> Vector:
    """Return Σ a·b over height and width; on a CPU without a product of the map's size in memory."""
    n, c, h, w = a.shape
    if a.is_contiguous(memory_format=torch.channels_last):
        a, b, axis = a.permute(0, 2, 3, 1).reshape(n, h * w, c), b.permute(0, 2, 3, 1).reshape(n, h * w, c), 1
    else:
        a, b, axis = a.reshape(n, c, h * w), b.reshape(n, c, h * w), 2
    images = max(1, _CHUNK // (c * h * w))
    if images >= n or a.device.type != "cpu":
        return (a * b).sum(axis)
    sums = a.new_empty(n, c)
    product = torch.empty_like(a[:images])
    for first in range(0, n, images):
        part = slice(first, min(n, first + images))
        torch.mul(a[part], b[part], out=product[: part.stop - first])
        torch.sum(product[: part.stop - first], axis, out=sums[part])
    return sums
