"""The algebra of Table 2: every linear head is σ(W y) ⊙ x, and they differ only in which entries of W are free.

A head of the registry needs an entry in `CASES`, and one in `ROWS` for each of its parameters.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from eca_ablate.config import TABLE2
from eca_ablate.heads import HEADS, ChannelHead, build_head, head_class, head_label, head_options
from eca_ablate.heads.base import Head, NoHead
from eca_ablate.heads.eca import ECA, ECANS
from eca_ablate.heads.se import SE, SEGC, SEVar1, SEVar2, SEVar3

# Channels and options that every test of the contract runs with.
CASES: dict[str, list[tuple[int, dict[str, Any]]]] = {
    "none": [(6, {})],
    "se": [(32, {}), (8, {"reduction": 2}), (5, {"reduction": 1})],
    "se_var1": [(7, {}), (1, {})],
    "se_var2": [(7, {}), (1, {})],
    "se_var3": [(7, {}), (1, {})],
    "se_gc": [(32, {"groups": 16}), (32, {"group_channels": 16}), (6, {"groups": 1}), (6, {"group_channels": 1})],
    "eca_ns": [(8, {}), (8, {"kernel_size": 5}), (6, {"kernel_size": 1}), (4, {"kernel_size": 7})],
    "eca": [(16, {}), (8, {"kernel_size": 5}), (6, {"kernel_size": 1}), (4, {"kernel_size": 7}), (8, {"gamma": 1})],
}
# How many entries each row of a parameter's matrix has: the n of its initial bound 1/√n.
ROWS: dict[str, dict[str, Callable[[Any], int]]] = {
    "none": {},
    "se": {"squeeze": lambda head: head.channels, "excite": lambda head: head.channels // head.reduction},
    "se_var1": {},
    "se_var2": {"weight": lambda _: 1},
    "se_var3": {"weight": lambda head: head.channels},
    "se_gc": {"weight": lambda head: head.channels // head.groups},
    "eca_ns": {"weight": lambda head: head.kernel_size},
    "eca": {"conv.weight": lambda head: head.kernel_size},
}
NOT_LINEAR = {"se"}

ALL = [(name, channels, options) for name in HEADS for channels, options in CASES.get(name, [])]
CHANNEL = [case for case in ALL if issubclass(HEADS[case[0]], ChannelHead)]
LINEAR = [case for case in CHANNEL if case[0] not in NOT_LINEAR]


def _id(value: object) -> str:
    return str(value).replace("'", "").replace(" ", "")


def over(cases: list[tuple[str, int, dict[str, Any]]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("name", "channels", "options"), cases, ids=_id)


def build(name: str, channels: int, options: dict[str, Any], dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(0)
    return build_head(name, channels, **options).to(dtype)


def maps(channels: int, batch: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, 3, 4, generator=generator, dtype=torch.float64).to(dtype)


def same(one: Head, other: Head, channels: int) -> None:
    x = maps(channels)
    torch.testing.assert_close(one(x), other(x))


def test_every_head_has_its_entries_here() -> None:
    assert set(CASES) == set(HEADS), "a head needs an entry in CASES"
    assert set(ROWS) == set(HEADS), "a head needs an entry in ROWS"
    assert all(CASES.values())


def test_heads_are_registered_under_their_names() -> None:
    assert {name: head.name for name, head in HEADS.items()} == {name: name for name in HEADS}
    assert len({head.title for head in HEADS.values()}) == len(HEADS)


# --- algebra


@over(LINEAR)
def test_a_linear_head_is_its_matrix(name: str, channels: int, options: dict[str, Any]) -> None:
    head = build(name, channels, options)
    x = maps(channels)
    y = x.sum((2, 3)) / 12
    own = head.matrix().to(x)
    rebuilt = torch.stack([head.logits(basis[None])[0] for basis in torch.eye(channels).to(x)], dim=1)
    assert own.shape == (channels, channels)
    torch.testing.assert_close(own, rebuilt)
    for w in (own, rebuilt):
        expected = torch.stack([torch.sigmoid(w @ y[n])[:, None, None] * x[n] for n in range(len(x))])
        torch.testing.assert_close(head(x), expected)
        torch.testing.assert_close(head.gate(x), torch.sigmoid(y @ w.T))


@over(LINEAR)
def test_the_free_entries_of_the_matrix(name: str, channels: int, options: dict[str, Any]) -> None:
    head = build(name, channels, options)
    size = channels // head.groups if name == "se_gc" else 0
    free = {
        "se_var1": lambda i, j: i == j,
        "se_var2": lambda i, j: i == j,
        "se_var3": lambda *_: True,
        "se_gc": lambda i, j: i // size == j // size,
        "eca_ns": lambda i, j: abs(i - j) <= (head.kernel_size - 1) / 2,
        "eca": lambda i, j: abs(i - j) <= (head.kernel_size - 1) / 2,
    }[name]
    expected = [[free(i, j) for j in range(channels)] for i in range(channels)]
    assert (head.matrix() != 0).tolist() == expected


@pytest.mark.parametrize("name", sorted(NOT_LINEAR))
def test_a_head_that_is_not_linear_has_no_matrix(name: str) -> None:
    channels, options = CASES[name][0]
    with pytest.raises(TypeError, match=f"the logits of `{name}` are not linear in y, so it has no matrix"):
        build(name, channels, options).matrix()


def test_se_is_not_linear_but_is_two_matrices_around_a_relu() -> None:
    head = build("se", 32, {})
    x = maps(32)
    first, second = nn.Linear(32, 2, bias=False).double(), nn.Linear(2, 32, bias=False).double()
    first.weight, second.weight = head.squeeze, head.excite
    gate = torch.sigmoid(second(torch.relu(first(functional.adaptive_avg_pool2d(x, 1).flatten(1)))))
    torch.testing.assert_close(head(x), gate[:, :, None, None] * x)
    y = torch.ones(1, 32, dtype=x.dtype)
    assert not torch.allclose(head.logits(-y), -head.logits(y))


@pytest.mark.parametrize("k", [1, 3, 5, 9])
def test_eca_is_the_official_layer(k: int) -> None:
    """`eca_module.py` of the official code, word for word but for its sigmoid's name; its state dict loads as it is."""
    conv = nn.Conv1d(1, 1, kernel_size=k, padding=(k - 1) // 2, bias=False).double()
    head = build("eca", 8, {"kernel_size": k})
    head.load_state_dict({"conv.weight": conv.weight.detach()})
    x = maps(8)
    y = nn.AdaptiveAvgPool2d(1)(x)
    y = conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
    y = torch.sigmoid(y)
    torch.testing.assert_close(head(x), x * y.expand_as(x))


@pytest.mark.parametrize("k", [1, 3, 5, 9])
def test_eca_ns_is_the_official_layer(k: int) -> None:
    """`eca_ns.py` of the official code: unfold along the channels, then a convolution with one group a channel."""
    head = build("eca_ns", 8, {"kernel_size": k})
    x = maps(8)
    y = nn.AdaptiveAvgPool2d(1)(x)
    y = functional.unfold(y.transpose(-1, -3), kernel_size=(1, k), padding=(0, (k - 1) // 2))
    y = functional.conv1d(y.transpose(-1, -2), head.weight[:, None, :], groups=8)
    torch.testing.assert_close(head(x), x * torch.sigmoid(y)[..., None])


def test_tied_eca_ns_is_eca() -> None:
    for channels, k in ((8, 3), (8, 5), (4, 7), (3, 1)):
        eca, ns = build("eca", channels, {"kernel_size": k}), build("eca_ns", channels, {"kernel_size": k})
        ns.weight.data = eca.conv.weight.data.view(1, k).repeat(channels, 1)
        same(ns, eca, channels)
        torch.testing.assert_close(ns.matrix(), eca.matrix())


def test_eca_of_kernel_size_one_is_se_var2_with_one_shared_weight() -> None:
    eca, var2 = build("eca", 6, {"kernel_size": 1}), build("se_var2", 6, {})
    var2.weight.data = eca.conv.weight.data.flatten().expand(6).clone()
    same(eca, var2, 6)


def test_eca_ns_of_kernel_size_one_is_se_var2() -> None:
    ns, var2 = build("eca_ns", 6, {"kernel_size": 1}), build("se_var2", 6, {})
    var2.weight.data = ns.weight.data.flatten()
    same(ns, var2, 6)


def test_one_group_is_se_var3() -> None:
    gc, var3 = build("se_gc", 6, {"groups": 1}), build("se_var3", 6, {})
    var3.weight.data = gc.weight.data[0]
    same(gc, var3, 6)


def test_one_channel_a_group_is_se_var2() -> None:
    gc, var2 = build("se_gc", 6, {"group_channels": 1}), build("se_var2", 6, {})
    var2.weight.data = gc.weight.data.flatten()
    same(gc, var2, 6)


def test_se_var2_with_ones_is_se_var1() -> None:
    var1, var2 = build("se_var1", 6, {}), build("se_var2", 6, {})
    var2.weight.data = torch.ones(6).double()
    same(var1, var2, 6)


@over([case for case in LINEAR if case[0] not in ("se_var1", "se_var3")])
def test_se_var3_holds_every_linear_head(name: str, channels: int, options: dict[str, Any]) -> None:
    """ECA(k) with a banded Toeplitz matrix among them."""
    head, var3 = build(name, channels, options), build("se_var3", channels, {})
    var3.weight.data = head.matrix().detach().clone()
    same(head, var3, channels)


@pytest.mark.parametrize(("channels", "k"), [(8, 3), (8, 5), (4, 7)])
def test_the_matrix_of_eca_is_a_banded_toeplitz_matrix(channels: int, k: int) -> None:
    head = build("eca", channels, {"kernel_size": k})
    matrix, weights = head.matrix(), head.conv.weight.flatten()
    for offset in range(1 - channels, channels):
        diagonal = torch.diagonal(matrix, offset)
        reach = offset + k // 2
        expected = weights[reach] if 0 <= reach < k else torch.zeros(()).double()
        assert torch.equal(diagonal, expected.expand_as(diagonal))


def test_gate_starts_near_one_half() -> None:
    for name, channels, options in CHANNEL:
        assert (build(name, channels, options).gate(maps(channels)) - 0.5).abs().max() < 0.4


# --- shapes, types and ranges


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


# --- initial weights


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


# --- names, labels and descriptions


@over(ALL)
def test_a_description_rebuilds_the_head_it_describes(name: str, channels: int, options: dict[str, Any]) -> None:
    head = build(name, channels, options)
    description = head.description()
    rebuilt = build_head(**{**description, "channels": channels})
    assert rebuilt.description() == description
    assert rebuilt.cost() == head.cost()
    rebuilt.double()
    for mine, theirs in zip(rebuilt.parameters(), head.parameters(), strict=True):
        mine.data = theirs.data.reshape(mine.shape)
    same(head, rebuilt, channels)


@pytest.mark.parametrize(
    ("name", "channels", "options", "description"),
    [
        ("se", 32, {}, {"name": "se", "reduction": 16}),
        ("se_gc", 16, {"groups": 16}, {"name": "se_var2"}),
        ("se_gc", 16, {"group_channels": 16}, {"name": "se_var3"}),
        ("se_gc", 256, {"group_channels": 16}, {"name": "se_gc", "groups": 16}),
        ("eca_ns", 16, {"kernel_size": 1}, {"name": "se_var2"}),
        ("eca", 64, {}, {"name": "eca", "kernel_size": 3}),
        ("eca", 2048, {"rounding": "nearest"}, {"name": "eca", "kernel_size": 5}),
        ("eca", 2048, {"gamma": 2.0, "b": 1}, {"name": "eca", "kernel_size": 7}),
        ("eca", 64, {"gamma": 1}, {"name": "eca", "kernel_size": 7}),
        ("eca", 64, {"b": 3.5}, {"name": "eca", "kernel_size": 5}),
    ],
    ids=_id,
)
def test_the_same_function_has_the_same_description(
    name: str, channels: int, options: dict[str, Any], description: dict[str, Any]
) -> None:
    assert build_head(name, channels, **options).description() == description


def test_adaptive_eca_is_a_constructor_of_its_own() -> None:
    assert ECA.adaptive(2048).kernel_size == 7
    assert ECA.adaptive(2048, rounding="nearest").kernel_size == 5
    assert ECA.adaptive(64, gamma=1, b=1).kernel_size == 7


def test_options_by_head() -> None:
    assert {name: head_options(name) for name in HEADS} == {
        "none": [],
        "se": ["reduction"],
        "se_var1": [],
        "se_var2": [],
        "se_var3": [],
        "se_gc": ["groups", "group_channels"],
        "eca_ns": ["kernel_size"],
        "eca": ["kernel_size", "gamma", "b", "rounding"],
    }


def test_labels() -> None:
    assert head_label("none", {}) == "Vanilla"
    assert head_label("se", {}) == "SE"
    assert head_label("se", {"reduction": 8}) == "SE (r=8)"
    assert head_label("se_gc", {"group_channels": 8}) == "SE-GC (C/G=8)"
    assert head_label("eca", {}) == "ECA (adaptive)"
    assert head_label("eca", {"kernel_size": (3, 5, 5, 7)}) == "ECA (k=3-5-5-7)"
    assert head_label("eca", {"gamma": 2, "b": 1}) == "ECA (γ=2, b=1)"


@pytest.mark.parametrize("row", TABLE2, ids=lambda row: row["label"])
@pytest.mark.parametrize("channels", [256, 512, 1024, 2048])
def test_table2_in_three_witnesses(row: dict[str, Any], channels: int) -> None:
    """The paper's column "#Param", the head's own formula for it, and the tensors."""
    printed, weights = {
        "Vanilla": ("0", 0),
        "SE": ("2C²/16", channels**2 // 8),
        "SE-Var1": ("0", 0),
        "SE-Var2": ("C", channels),
        "SE-Var3": ("C²", channels**2),
        "SE-GC1": ("C²/16", channels**2 // 16),
        "SE-GC2": ("16C", 16 * channels),
        "SE-GC3": ("8C", 8 * channels),
        "ECA-NS": ("kC", 3 * channels),
        "ECA (k=3)": ("k", 3),
        "ECA (adaptive)": ("k", {256: 5, 512: 5, 1024: 5, 2048: 7}[channels]),
    }[row["label"]]
    options = {key: value for key, value in row.items() if key not in ("name", "label")}
    with torch.device("meta"):
        head = build_head(row["name"], channels, **options)
    assert head_class(row["name"]).formula(**options) == printed
    assert sum(weight.numel() for weight in head.parameters()) == head.cost().weights == weights


# --- errors


@pytest.mark.parametrize(
    ("name", "channels", "options", "fragments"),
    [
        ("eca", 64, {"kernel_size": 4}, ["`kernel_size` must be odd to keep 64 channels, but got 4; try 3 or 5"]),
        ("eca_ns", 64, {"kernel_size": 2}, ["must be odd", "but got 2; try 1 or 3"]),
        ("eca", 4, {"kernel_size": 9}, ["`kernel_size <= 2C - 1` must hold", "got 9 for C = 4", "largest is 7"]),
        ("eca_ns", 4, {"kernel_size": 9}, ["`kernel_size <= 2C - 1` must hold", "largest is 7"]),
        ("eca", 4, {"gamma": 0.1}, ["`kernel_size <= 2C - 1` must hold", "largest is 7"]),
        ("eca", 64, {"kernel_size": 0}, ["`kernel_size >= 1` must hold, but got 0"]),
        ("eca", 64, {"kernel_size": -3}, ["`kernel_size >= 1` must hold, but got -3"]),
        ("eca", 64, {"kernel_size": True}, ["`kernel_size` must be a whole number, but got True"]),
        ("eca_ns", 64, {"kernel_size": "3"}, ["`kernel_size` must be a whole number, but got '3'"]),
        ("eca", 64, {"kernel_size": 3.0}, ["`kernel_size` must be a whole number, but got 3.0"]),
        ("eca", 64, {"kernel_size": [3, 5, 5, 7]}, ["`kernel_size` must be a whole number, but got [3, 5, 5, 7]"]),
        ("eca", 64, {"kernel_size": 3, "gamma": 2}, ["either `kernel_size` or", "kernel_size=3 and gamma=2"]),
        ("eca", 64, {"kernel_size": 3, "rounding": "code"}, ["either `kernel_size` or", "rounding=code"]),
        ("eca", 64, {"gamma": 0}, ["`gamma > 0` must hold, but got 0"]),
        ("eca", 64, {"gamma": -2}, ["`gamma > 0` must hold, but got -2"]),
        ("eca", 64, {"gamma": "2"}, ["`gamma` must be a number, but got '2'"]),
        ("eca", 64, {"b": True}, ["`b` must be a number, but got True"]),
        ("eca", 64, {"b": math.nan}, ["`b` must be finite, but got nan"]),
        ("eca", 64, {"rounding": "neerest"}, ["`rounding` must be `code` or `nearest`, but got 'neerest'"]),
        ("se", 24, {}, ["`reduction` must divide the 24 channels, but got 16"]),
        ("se", 8, {}, ["`reduction` must divide the 8 channels, but got 16"]),
        ("se", 64, {"reduction": 0}, ["`reduction >= 1` must hold, but got 0"]),
        ("se", 64, {"reduction": 4.0}, ["`reduction` must be a whole number, but got 4.0"]),
        ("se_gc", 24, {"groups": 16}, ["`groups` must divide the 24 channels, but got 16"]),
        ("se_gc", 24, {"group_channels": 16}, ["`group_channels` must divide the 24 channels, but got 16"]),
        ("se_gc", 24, {"group_channels": 0}, ["`group_channels >= 1` must hold, but got 0"]),
        ("se_gc", 24, {"groups": True}, ["`groups` must be a whole number, but got True"]),
        ("se_gc", 24, {"groups": 2, "group_channels": 12}, ["either `groups` or `group_channels`", "groups=2 and"]),
        ("se_gc", 24, {}, ["either `groups` or `group_channels`", "groups=None and group_channels=None", "groups: 16"]),
        ("eca", 0, {"kernel_size": 3}, ["`channels >= 1` must hold, but got 0"]),
        ("eca", 0, {}, ["`channels >= 1` must hold, but got 0"]),
        ("se", 64.0, {}, ["`channels` must be a whole number, but got 64.0"]),
        ("ecaa", 64, {}, ["unknown head 'ecaa' (did you mean `eca`?)", *HEADS]),
        ("cbam", 64, {}, ["unknown head 'cbam'; known: none, se"]),
        (
            "eca",
            64,
            {"kernel": 3},
            ["`eca`: unknown option 'kernel' (did you mean `kernel_size`?)", "gamma, b, rounding"],
        ),
        ("se_gc", 64, {"gruops": 3}, ["`se_gc`: unknown option 'gruops' (did you mean `groups`?)", "group_channels"]),
        ("se_var3", 64, {"reduction": 4}, ["`se_var3`: it has none, but got `reduction`"]),
        ("none", 64, {"k": 3}, ["`none`: it has none, but got `k`"]),
    ],
    ids=_id,
)
def test_errors_state_the_invariant_the_value_and_the_way_out(
    name: str, channels: int, options: dict[str, Any], fragments: list[str]
) -> None:
    with pytest.raises(ValueError) as error:
        build_head(name, channels, **options)
    for fragment in fragments:
        assert fragment in str(error.value)


@given(st.sampled_from(["eca", "eca_ns"]), st.integers(1, 12), st.integers(1, 40))
def test_a_kernel_size_builds_or_its_error_proposes_one_that_does(name: str, channels: int, k: int) -> None:
    if k % 2 and k < 2 * channels:
        assert build_head(name, channels, kernel_size=k)(maps(channels, dtype=torch.float32)).shape[1] == channels
        return
    with pytest.raises(ValueError) as error:
        build_head(name, channels, kernel_size=k)
    proposed = [int(word) for word in str(error.value).rpartition("; ")[2].split() if word.isdigit()]
    assert proposed
    for other in proposed:
        build_head(name, channels, kernel_size=other)


@pytest.mark.parametrize("head", HEADS.values(), ids=lambda head: head.name)
def test_heads_are_final(head: type[Head]) -> None:
    """Abstract or final: nothing is inherited from a concrete head."""
    assert not head.__subclasses__()
    assert not head.__abstractmethods__


def test_heads_are_exported() -> None:
    import eca_ablate

    assert eca_ablate.HEADS is HEADS
    assert eca_ablate.build_head is build_head
    assert list(HEADS.values()) == [NoHead, SE, SEVar1, SEVar2, SEVar3, SEGC, ECANS, ECA]
