"""The algebra of Table 2: every linear head is σ(W y) ⊙ x, and they differ only in which entries of W are free."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from head_cases import CASES, CHANNEL, LINEAR, NOT_LINEAR, build, maps, over, same
from torch import nn
from torch.nn import functional


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
