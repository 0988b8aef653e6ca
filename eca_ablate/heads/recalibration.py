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
_CHUNK = 2**20
# Below this many channels, an element-wise operation that runs along the channels ends before it is vectorised.
_FEW_CHANNELS = 64


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


def squeeze(x: Map) -> Vector:
    """Return the means over height and width.

    `Tensor.mean` of bfloat16 on a CPU begins with a copy of the map in float32; `sum` adds in float32 without one.
    """
    if x.dtype is torch.bfloat16 and x.device.type == "cpu":
        pixels, axis = _flat(x, _channels_last(x))
        return pixels.sum(axis).div_(pixels.shape[axis])
    return x.mean((2, 3))


def rescale(x: Map, gate: Vector) -> Map:
    """Return the map with every channel multiplied by its gate."""
    return x * _rows(gate, x)


def affine(x: Map, scale: Vector, shift: Vector) -> Map:
    """Return scale · x + shift, one of each a channel, in the map's type."""
    scale, shift = _rows(scale, x), _rows(shift, x)
    if _channels_last(x):
        return torch.addcmul(shift, x, scale)
    return (x * scale).add_(shift)  # addcmul is slow where the broadcast is not along rows


class _Kept:
    """What the two functions share: the gate without its graph, since a graph that held itself would never be freed."""

    gate: Tensor


class _Squeeze(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: _Kept) -> tuple[Tensor, Tensor]:
        ctx.kept = kept
        ctx.pixels = x.shape[2] * x.shape[3]
        return squeeze(x), x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, squeezed: Tensor, rescaled: Tensor) -> tuple[Tensor, None]:
        """Return rescaled · gate + squeezed / pixels."""
        return affine(rescaled, ctx.kept.gate, (squeezed / ctx.pixels).to(rescaled.dtype)), None


class _Rescale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return rescale(x, gate)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient of the output as it is, for `_Squeeze` to rescale, and that of the gate."""
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradient, sum_of_products(gradient, x)


def sum_of_products(a: Map, b: Map) -> Vector:
    """Return Σ a·b over height and width; on a CPU without a product of the map's size in memory."""
    n, c, h, w = a.shape
    last, on_cpu = _channels_last(a), a.device.type == "cpu"
    if on_cpu and last and a.dtype.itemsize >= 4:  # shorter numbers are too coarse to be added one by one
        return _sum_row_by_row(a, b)
    (a, axis), (b, _) = _flat(a, last), _flat(b, last)
    images = max(1, _CHUNK // (c * h * w))
    if images >= n or not on_cpu:
        return (a * b).sum(axis)
    sums = a.new_empty(n, c)
    product = torch.empty_like(a[:images])
    for first in range(0, n, images):
        part = slice(first, min(n, first + images))
        torch.mul(a[part], b[part], out=product[: part.stop - first])
        torch.sum(product[: part.stop - first], axis, out=sums[part])
    return sums


def _sum_row_by_row(a: Map, b: Map) -> Vector:
    """Return Σ a·b: one row of every image at a time is added to sums that stay in the cache."""
    rows = zip(a.permute(2, 0, 3, 1), b.permute(2, 0, 3, 1), strict=True)  # each (batch, width, channel)
    row, other = next(rows)
    sums: Tensor = row * other
    for row, other in rows:
        sums.addcmul_(row, other)
    return sums.sum(1)


def _channels_last(x: Map) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def _flat(x: Map, channels_last: bool) -> tuple[Tensor, int]:
    """Return the map with height and width as one axis, and which one that is."""
    n, c, h, w = x.shape
    if channels_last:
        return x.permute(0, 2, 3, 1).reshape(n, h * w, c), 1
    return x.reshape(n, c, h * w), 2


def _rows(values: Vector, x: Map) -> Tensor:
    """Return one value a channel in a shape that multiplies the map; for few channels, written out along a row."""
    column = values[:, :, None, None]
    if x.shape[1] >= _FEW_CHANNELS or x.device.type != "cpu" or not _channels_last(x):
        return column
    return column.expand(-1, -1, 1, x.shape[3]).contiguous(memory_format=torch.channels_last)
