"""In evaluation a normalisation and its head are one pass over the map, and give what they give one after the other."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from map_cases import LAYOUTS, NAMES, OPTIONS, NewMaps
from torch import Tensor, nn

from eca_ablate.backbones import build_backbone, heads_of
from eca_ablate.backbones.placement import NormAndHead
from eca_ablate.heads import build_head


def trained(name: str, channels: int = 32) -> NormAndHead:
    """A pair whose normalisation has seen something, in evaluation."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(channels)
    for weight in norm.parameters():
        nn.init.normal_(weight)
    for _ in range(3):
        norm(torch.randn(4, channels, 5, 5) * 3 + 1)
    return NormAndHead(norm, build_head(name, channels, **OPTIONS.get(name, {}))).eval()


def maps_made(pair: nn.Module, x: Tensor) -> int:
    with torch.no_grad(), NewMaps(x.numel()) as maps:
        pair(x)
    return maps.count


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [32, 96])
@pytest.mark.parametrize("name", NAMES)
def test_the_same_as_one_after_the_other(name: str, channels: int, layout: str) -> None:
    pair = trained(name, channels).double()
    x = torch.randn(3, channels, 6, 7, dtype=torch.double).to(memory_format=LAYOUTS[layout])
    with torch.no_grad():
        ours, plain = pair(x), pair.head(pair.norm(x))
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)
    assert ours.stride() == plain.stride()


@pytest.mark.parametrize("name", NAMES)
def test_under_autocast_about_as_exact_as_one_after_the_other(name: str) -> None:
    pair = trained(name)
    x = (2 * torch.randn(8, 32, 20, 20) + 1).to(memory_format=torch.channels_last)
    with torch.no_grad():
        exact = pair.double().head(pair.norm(x.double()))
        pair.float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            ours, plain = pair(x.bfloat16()), pair.head(pair.norm(x.bfloat16()))
    assert ours.dtype == plain.dtype == torch.bfloat16
    # two numbers a channel are rounded, but no map is on the way
    assert (ours - exact).norm() <= 1.5 * (plain - exact).norm()


def test_one_map_is_made_where_nothing_watches() -> None:
    x = torch.randn(2, 96, 5, 5).to(memory_format=torch.channels_last)
    assert maps_made(trained("eca", 96), x) == 1


def test_whoever_watches_sees_every_step() -> None:
    """Hooks get what they would from a plain sequence, and so does autograd."""
    pair, x = trained("eca"), torch.randn(2, 32, 5, 5)
    with torch.no_grad():
        expected = pair.norm(x)
    seen: list[Tensor] = []
    for watch in (
        partial(pair.norm.register_forward_hook, lambda *seen_by_hook: seen.append(seen_by_hook[2])),
        partial(pair.head.register_forward_hook, lambda *seen_by_hook: seen.append(seen_by_hook[1][0])),
        partial(pair.head.register_forward_pre_hook, lambda *seen_by_hook: seen.append(seen_by_hook[1][0])),
    ):
        hook = watch()
        with torch.no_grad():
            pair(x)
        hook.remove()
    torch.testing.assert_close(seen, [expected] * 3, rtol=0, atol=0)
    leaf = x.requires_grad_()
    weights = [leaf, *pair.parameters()]
    ours = torch.autograd.grad(pair(leaf).square().sum(), weights)
    plain = torch.autograd.grad(pair.head(pair.norm(leaf)).square().sum(), weights)
    torch.testing.assert_close(ours, plain, rtol=0, atol=0)


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(32, affine=False),
        nn.BatchNorm2d(32, track_running_stats=False),
        nn.GroupNorm(4, 32),
        nn.Identity(),
    ],
    ids=["not affine", "of the batch", "group", "none"],
)
def test_other_normalisations_run_by_themselves(norm: nn.Module) -> None:
    pair, x = NormAndHead(norm, build_head("eca", 32)).eval(), torch.randn(2, 32, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(pair(x), pair.head(norm(x)), rtol=0, atol=0)


def test_in_training_statistics_are_those_of_the_batch_also_without_gradients() -> None:
    pair, x = trained("eca").train(), torch.randn(4, 32, 5, 5)
    apart = copy.deepcopy(pair)
    with torch.no_grad():
        torch.testing.assert_close(pair(x), apart.head(apart.norm(x)), rtol=0, atol=0)
    torch.testing.assert_close(pair.norm.running_mean, apart.norm.running_mean, rtol=0, atol=0)


def test_a_whole_network_evaluates_to_the_same() -> None:
    torch.manual_seed(0)
    net = build_backbone("resnet20", 10, make_head=lambda channels: build_head("se", channels))
    x = torch.randn(16, 3, 32, 32)
    net(x)
    net.eval()
    with torch.no_grad():
        ours = net(x)
        for head in heads_of(net):
            head.register_forward_hook(lambda *_: None)
        torch.testing.assert_close(ours, net(x))
