"""Maps through every head: shapes, types, layouts, gradients, state and initial weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from head_cases import ALL, CHANNEL, ROWS, build, maps, over
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import nn
from torch.func import functional_call

from eca_ablate.heads import build_head
from eca_ablate.heads.eca import ECA


@given(st.data())
def test_gate_within_zero_and_one_for_any_map(data: st.DataObject) -> None:
    name, channels, options = data.draw(st.sampled_from(CHANNEL))
    shape = [data.draw(st.integers(low, 4)) for low in (0, 1, 1)]
    values = st.floats(-(2.0**100), 2.0**100, width=32)
    fill, spike = data.draw(values), data.draw(values)
    x = torch.full((shape[0], channels, *shape[1:]), fill)
    x[..., 0, 0] = spike
    head = build(name, channels, options, torch.float32)
    gate, out = head.gate(x), head(x)
    assert gate.shape == x.shape[:2]
    assert ((gate >= 0) & (gate <= 1)).all()
    assert out.shape == x.shape
    assert out.isfinite().all()
    assert (out.abs() <= x.abs()).all()


@over(CHANNEL)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_shape_and_type_are_kept(name: str, channels: int, options: dict[str, Any], dtype: torch.dtype) -> None:
    head = build(name, channels, options, dtype)
    for scale in (1, 1e4):
        x = maps(channels, dtype=dtype) * scale
        out, gate = head(x), head.gate(x)
        assert (out.shape, out.dtype) == (x.shape, dtype)
        assert (gate.shape, gate.dtype) == (x.shape[:2], dtype)
        assert ((gate >= 0) & (gate <= 1)).all()


@over(ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_type_is_kept_under_autocast(name: str, channels: int, options: dict[str, Any], dtype: torch.dtype) -> None:
    """With float32 weights, as in training: no head may widen the maps that the others leave narrow."""
    head = build(name, channels, options, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert head(maps(channels, dtype=dtype)).dtype == dtype


@over(ALL)
def test_memory_format_is_kept(name: str, channels: int, options: dict[str, Any]) -> None:
    head = build(name, channels, options)
    x = maps(channels)
    out = head(x.contiguous(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, head(x), check_stride=False)


@over(ALL)
def test_an_image_does_not_depend_on_its_batch(name: str, channels: int, options: dict[str, Any]) -> None:
    head = build(name, channels, options)
    x = maps(channels)
    torch.testing.assert_close(head(x), torch.cat([head(image[None]) for image in x]))
    assert head(x[:0]).shape == x[:0].shape


@over(ALL)
def test_the_map_is_left_as_it_was(name: str, channels: int, options: dict[str, Any]) -> None:
    x = maps(channels)
    build(name, channels, options)(x)
    assert torch.equal(x, maps(channels))


@over(CHANNEL)
def test_a_map_without_its_axes_is_refused(name: str, channels: int, options: dict[str, Any]) -> None:
    with pytest.raises(TypeCheckError):
        build(name, channels, options)(torch.zeros(channels, 3, 4))


def test_none_is_the_identity() -> None:
    x = maps(6)
    assert build("none", 6, {})(x) is x


# --- gradients and state


@over(ALL)
def test_gradients_are_right(name: str, channels: int, options: dict[str, Any]) -> None:
    head = build(name, channels, options)
    names = [name for name, _ in head.named_parameters()]
    weights = [weight.detach().requires_grad_() for weight in head.parameters()]
    x = maps(channels, batch=2)[..., :2, :1].contiguous().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, *weights: functional_call(head, dict(zip(names, weights, strict=True)), (x,)),
        (x, *weights),
        fast_mode=channels > 8,
    )


@over(ALL)
def test_gradients_reach_every_weight_that_has_an_effect(name: str, channels: int, options: dict[str, Any]) -> None:
    head = build(name, channels, options)
    x = maps(channels, batch=16).requires_grad_()
    (head(x) * maps(channels, batch=16).flip(0)).sum().backward()
    assert (x.grad != 0).all()
    silent = sum(int((weight.grad == 0).sum()) for weight in head.parameters())
    assert silent == ((head.kernel_size**2 - 1) // 4 if name == "eca_ns" else 0)


@over(ALL)
def test_copies_are_equal_and_independent(name: str, channels: int, options: dict[str, Any]) -> None:
    head = build(name, channels, options)
    twin = copy.deepcopy(head)
    before = head(maps(channels))
    assert torch.equal(twin(maps(channels)), before)
    for weight in twin.parameters():
        weight.data.zero_()
    assert torch.equal(head(maps(channels)), before)


@over(ALL)
def test_state_travels(name: str, channels: int, options: dict[str, Any]) -> None:
    head = build(name, channels, options)
    torch.manual_seed(99)
    other = build_head(name, channels, **options).double()
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(maps(channels)), head(maps(channels)))
    assert set(head.state_dict()) == set(ROWS[name])


def test_eca_has_the_official_name_and_shape_of_its_weight() -> None:
    assert {name: value.shape for name, value in build("eca", 64, {}).state_dict().items()} == {
        "conv.weight": (1, 1, 3)
    }


@over(ALL)
def test_initial_weights_follow_one_rule(name: str, channels: int, options: dict[str, Any]) -> None:
    """U(-1/√n, 1/√n), with n the free entries of a row: PyTorch's own rule for linear layers and convolutions."""
    torch.manual_seed(0)
    draws = 3000 // max(1, build_head(name, channels, **options).cost().weights) + 1
    heads = [build_head(name, channels, **options) for _ in range(draws)]
    for weight, per_row in ROWS[name].items():
        bound = 1 / math.sqrt(per_row(heads[0]))
        values = torch.cat([head.get_parameter(weight).detach().flatten() for head in heads])
        assert values.abs().max() <= bound
        assert values.abs().max() > 0.97 * bound
        assert values.mean().abs() < 0.1 * bound
        torch.testing.assert_close(values.std().item(), bound / math.sqrt(3), rtol=0.05, atol=0)


def test_eca_starts_as_a_fresh_convolution_does() -> None:
    torch.manual_seed(0)
    conv = torch.cat([nn.Conv1d(1, 1, 5, bias=False).weight.detach().flatten() for _ in range(1000)])
    eca = torch.cat([ECA(64, 5).conv.weight.detach().flatten() for _ in range(1000)])
    for moment in (torch.std, torch.mean, torch.amax, torch.amin):
        torch.testing.assert_close(moment(eca), moment(conv), rtol=0.03, atol=0.02)


@over(ALL)
def test_a_seed_repeats_a_head(name: str, channels: int, options: dict[str, Any]) -> None:
    one, other = build(name, channels, options), build(name, channels, options)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
