"""Squeeze and rescale as a pair: the gradients of the formula, without the maps that the formula's backward makes."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from map_cases import LAYOUTS, NAMES, OPTIONS, NewMaps
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from eca_ablate.heads import ChannelHead, build_head, recalibration
from eca_ablate.heads.recalibration import recalibrate, squeeze, sum_of_products


def formula(head: ChannelHead, x: Tensor) -> Tensor:
    return x * head.gate(x)[:, :, None, None]


def gradients(call: Any, head: nn.Module, x: Tensor, g: Tensor) -> list[Tensor]:
    leaf = x.detach().requires_grad_()
    head.zero_grad()
    out = call(leaf)
    out.backward(g.to(out.dtype))
    assert leaf.grad is not None
    return [out.detach(), leaf.grad, *(weight.grad.clone() for weight in head.parameters() if weight.grad is not None)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 32, 5, 7), (2, 32, 1, 1), (5, 32, 120, 90)], ids=str)
def test_output_and_gradients_are_those_of_the_formula(name: str, layout: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    head = build_head(name, 32, **OPTIONS.get(name, {})).double()
    x, g = (torch.randn(shape, dtype=torch.double).to(memory_format=LAYOUTS[layout]) for _ in range(2))
    ours = gradients(head, head, x, g)
    theirs = gradients(lambda x: formula(head, x), head, x, g)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert ours[1].stride() == theirs[1].stride()


@pytest.mark.parametrize("name", NAMES)
def test_under_autocast_as_exact_as_the_formula(name: str) -> None:
    torch.manual_seed(0)
    head = build_head(name, 32, **OPTIONS.get(name, {}))
    x, g = (torch.randn(8, 32, 20, 20).to(memory_format=torch.channels_last) for _ in range(2))
    exact = gradients(head, head, x, g)
    low = x.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = gradients(head, head, low, g)
        theirs = gradients(lambda x: formula(head, x), head, low, g)
    for a, b, c in zip(ours, theirs, exact, strict=True):
        assert a.dtype == b.dtype
        error, allowed = ((one.double() - c.double()).norm() for one in (a, b))
        assert error <= 1.25 * allowed + 1e-9


COMPILED = """
import torch
from eca_ablate.heads import HEADS, ChannelHead, build_head, recalibration

options = {"se_gc": {"groups": 4}}
for name, head in HEADS.items():
    if not issubclass(head, ChannelHead):
        continue
    torch.manual_seed(0)
    head = build_head(name, 16, **options.get(name, {}))
    compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
    x, g, found = torch.randn(2, 16, 4, 4), torch.randn(2, 16, 4, 4), []
    for call in (head, compiled):
        leaf = x.clone().requires_grad_()
        out = call(leaf)
        found.append([out, *torch.autograd.grad(out, [leaf, *head.parameters()], g)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
"""


@pytest.mark.slow
def test_a_compiler_gets_one_graph_and_the_same_numbers() -> None:
    """In a process of its own: the checks of axes that other tests put into the heads break a graph."""
    subprocess.run([sys.executable, "-c", COMPILED], check=True, timeout=250)


def test_one_map_is_kept_for_the_backward() -> None:
    head, kept = build_head("eca", 16), []
    x = torch.randn(4, 16, 8, 8).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        head(x)
    assert [t.data_ptr() for t in kept if t.numel() >= x.numel()] == [x.data_ptr()]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_backward_makes_one_map(layout: str) -> None:
    head = build_head("eca", 64)
    x, g = (torch.randn(4, 64, 80, 80).to(memory_format=LAYOUTS[layout]) for _ in range(2))
    counts = []
    for call in (head, lambda x: formula(head, x)):  # type: ignore[arg-type]
        leaf = x.detach().requires_grad_()
        out = call(leaf)
        with NewMaps(x.numel()) as maps:
            torch.autograd.grad(out, [leaf], g)
        counts.append(maps.count)
    ours, theirs = counts
    assert ours == 1
    assert theirs > 1


def test_the_graph_can_be_used_twice_and_the_head_in_two_places() -> None:
    head = build_head("se", 16)
    x = torch.randn(2, 16, 4, 4).requires_grad_()
    out = head(head(x))
    (first,) = torch.autograd.grad(out.sum(), [x], retain_graph=True)
    (second,) = torch.autograd.grad(out.sum(), [x])
    twice = formula(head, formula(head, x))  # type: ignore[arg-type]
    (plain,) = torch.autograd.grad(twice.sum(), [x])
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, plain)


def test_under_checkpointing() -> None:
    head = build_head("eca", 16)
    x = torch.randn(2, 16, 4, 4).requires_grad_()
    (ours,) = torch.autograd.grad(checkpoint(head, x, use_reentrant=False).square().sum(), [x])
    (plain,) = torch.autograd.grad(head(x).square().sum(), [x])
    torch.testing.assert_close(ours, plain, rtol=0, atol=0)


def test_a_frozen_head_passes_gradients_and_a_frozen_map_trains_the_head() -> None:
    head = build_head("se", 16)
    x = torch.randn(2, 16, 4, 4)
    head(x).sum().backward()
    assert all(weight.grad is not None for weight in head.parameters())
    head.requires_grad_(False)
    leaf = x.requires_grad_()
    (ours,) = torch.autograd.grad(head(leaf).square().sum(), [leaf])
    (plain,) = torch.autograd.grad(formula(head, leaf).square().sum(), [leaf])  # type: ignore[arg-type]
    torch.testing.assert_close(ours, plain)


def test_second_derivatives_are_refused() -> None:
    head = build_head("eca", 16)
    x = torch.randn(1, 16, 2, 2).requires_grad_()
    (first,) = torch.autograd.grad(head(x).square().sum(), [x], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@given(st.integers(1, 5), st.sampled_from([1, 3, 8]), st.integers(1, 9), st.integers(1, 9), st.sampled_from([*LAYOUTS]))
def test_the_sum_of_products_in_pieces(n: int, c: int, h: int, w: int, layout: str) -> None:
    a, b = (torch.randn(n, c, h, w, dtype=torch.double).to(memory_format=LAYOUTS[layout]) for _ in range(2))
    short = [(a.to(dtype), b.to(dtype)) for dtype in (torch.bfloat16, torch.float16)]
    for elements in (1, 200, 10_000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(recalibration, "_CHUNK", elements)
            torch.testing.assert_close(sum_of_products(a, b), (a * b).sum((2, 3)), rtol=1e-10, atol=1e-10)
            for low, other in short:
                torch.testing.assert_close(sum_of_products(low, other), (low * other).sum((2, 3)), rtol=0.02, atol=0.01)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_of_short_numbers_are_long(dtype: torch.dtype) -> None:
    """Ten thousand ones: added one by one, bfloat16 stops at 256 and float16 at 2048."""
    ones = torch.ones(2, 8, 5000, 2, dtype=dtype).to(memory_format=torch.channels_last)
    torch.testing.assert_close(sum_of_products(ones, ones), torch.full((2, 8), 10_000, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [16, 96])
def test_the_squeeze_is_as_exact_as_the_mean(dtype: torch.dtype, layout: str, channels: int) -> None:
    """The sum is not what is rounded: adding up ten thousand pixels in bfloat16 would lose most of them."""
    x = (torch.rand(2, channels, 100, 100) + 7).to(dtype).to(memory_format=LAYOUTS[layout])
    exact = x.double().mean((2, 3))
    ours, theirs = ((mean.double() - exact).abs().max().item() for mean in (squeeze(x), x.mean((2, 3))))
    assert squeeze(x).dtype == dtype
    assert ours <= 2 * theirs + 1e-6 + (
        0.04 if dtype == torch.bfloat16 else 0
    )  # one rounding more of a number near 7.5


def test_gradients_in_another_layout_than_the_map() -> None:
    x = torch.randn(3, 8, 5, 4, dtype=torch.double).to(memory_format=torch.channels_last).requires_grad_()
    g = torch.randn(3, 8, 5, 4, dtype=torch.double)
    (ours,) = torch.autograd.grad(recalibrate(x, torch.sigmoid), [x], g)
    (plain,) = torch.autograd.grad(x * x.mean((2, 3)).sigmoid()[:, :, None, None], [x], g)
    torch.testing.assert_close(ours, plain)


def test_a_step_leaves_nothing_behind() -> None:
    """A graph that holds itself is not freed where another hangs on it, as in a network of several blocks."""
    net = nn.Sequential(nn.Conv2d(16, 16, 1), build_head("se", 16), nn.Conv2d(16, 16, 1), build_head("eca", 16))
    net(torch.randn(23, 16, 4, 4)).sum().backward()  # nothing else has 23 rows
    del net
    gc.collect()
    assert [one.shape for one in gc.get_objects() if type(one) is Tensor and one.ndim and one.shape[0] == 23] == []
