"""Every count has two witnesses: the formula, and the tensors or torch's FLOP counter."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model_weights

from eca_ablate.backbones import build_backbone, heads_of
from eca_ablate.config import TABLE2, BackboneName
from eca_ablate.cost import NetCost, count
from eca_ablate.heads import HEADS, Head, build_head
from eca_ablate.heads.eca import ECA

# Options and, for each head, whether the FLOP counter sees its products; it sees no element-wise one.
CASES: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "none": ([{}], False),
    "se": ([{}, {"reduction": 4}], True),
    "se_var1": ([{}], False),
    "se_var2": ([{}], False),
    "se_var3": ([{}], True),
    "se_gc": ([{"groups": 16}, {"group_channels": 16}, {"groups": 2}], True),
    "eca_ns": ([{}, {"kernel_size": 7}], False),
    "eca": ([{}, {"kernel_size": 7}, {"gamma": 1}], False),
}
ALL = [(name, options) for name in HEADS for options in CASES.get(name, ([], False))[0]]
CHANNELS = (16, 32, 64)

cases = pytest.mark.parametrize(("name", "options"), ALL, ids=str)


def multiply_accumulates(net: nn.Module, x: Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(x)
    return counter.get_total_flops() // 2


def weights(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def resnet(name: BackboneName, head: str = "none", num_classes: int = 10, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return build_backbone(name, num_classes, make_head=lambda c: build_head(head, c, **options))


def test_every_head_has_its_entry_here() -> None:
    assert set(CASES) == set(HEADS), "a head needs an entry in CASES"


# --- heads


@cases
@pytest.mark.parametrize("channels", [32, 64, 256])
def test_formula_counts_the_tensors(name: str, options: dict[str, Any], channels: int) -> None:
    head = build_head(name, channels, **options)
    assert head.cost().weights == weights(head)
    assert sum(buffer.numel() for buffer in head.buffers()) == 0


@cases
@pytest.mark.parametrize("batch", [1, 3])
def test_multiply_accumulates_of_a_head(name: str, options: dict[str, Any], batch: int) -> None:
    """For one image whatever the batch, and independent of the map's size, as squeeze and rescale are not counted."""
    head = build_head(name, 64, **options)
    for side in (1, 7):
        seen = multiply_accumulates(head, torch.randn(batch, 64, side, side))
        assert seen == (batch * head.cost().macs if CASES[name][1] else 0)


def test_multiply_accumulates_that_no_counter_sees() -> None:
    """Element-wise products: as many as the weights, the padded ones of ECA-NS among them, as in ECA's convolution."""
    assert build_head("se_var2", 64).cost().macs == 64
    eca = build_head("eca", 64, kernel_size=5)
    assert isinstance(eca, ECA)
    assert multiply_accumulates(eca.conv, torch.randn(1, 1, 64)) == eca.cost().macs == 320
    assert build_head("eca_ns", 64, kernel_size=5).cost().macs == 320


# --- networks


@pytest.mark.parametrize(
    ("name", "options"),
    [*ALL, *((row["name"], {k: row[k] for k in row if k not in ("name", "label")}) for row in TABLE2)],
    ids=str,
)
def test_a_networks_cost_is_the_vanilla_ones_and_its_heads(name: str, options: dict[str, Any]) -> None:
    vanilla, net = count(resnet("resnet20"), 32), resnet("resnet20", name, **options)
    cost = count(net, 32)
    heads = [build_head(name, channels, **options) for channels in CHANNELS for _ in range(3)]
    assert cost.weights == weights(net)
    assert cost.head_weights == sum(map(weights, heads)) == cost.weights - vanilla.weights
    assert cost.head_macs == sum(head.cost().macs for head in heads) == cost.macs - vanilla.macs
    assert (vanilla.head_weights, vanilla.head_macs) == (0, 0)


@pytest.mark.parametrize("name", [name for name in HEADS if CASES[name][1]])
def test_a_networks_multiply_accumulates_on_a_real_image(name: str) -> None:
    options = CASES[name][0][-1]  # the first of SE-GC has one channel a group here: an element-wise product
    net = build_backbone("resnet20", 10, make_head=lambda c: build_head(name, c, **options)).eval()
    assert count(net, 32).macs == multiply_accumulates(net, torch.randn(1, 3, 32, 32))


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_published_cost_of_torchvisions_networks(name: BackboneName) -> None:
    """torchvision publishes weights, and multiply-accumulates at 224 pixels in thousand millions."""
    published = get_model_weights(name)["IMAGENET1K_V1"].meta  # type: ignore[index]
    cost = count(resnet(name, num_classes=1000), 224)
    assert cost.weights == published["num_params"]
    assert round(cost.macs / 1e9, 3) == published["_ops"]


def test_multiply_accumulates_by_hand() -> None:
    """Output positions × kernel × channels in × channels out, over all convolutions, and the linear layer."""
    net = build_backbone("resnet20", 10).eval()
    cost = count(net, 32)
    total = 0

    def add(module: Any, args: Any, out: Tensor) -> None:
        nonlocal total
        total += module.weight.numel() * (out.shape[2] * out.shape[3] if out.ndim == 4 else 1)

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    net(torch.zeros(1, 3, 32, 32))
    assert total == cost.macs
    shortcuts = 16 * 32 * 16**2 + 32 * 64 * 8**2
    stages = 9 * 32**2 * 16 * (3 + 6 * 16) + 9 * 16**2 * 32 * (16 + 5 * 32) + 9 * 8**2 * 64 * (32 + 5 * 64)
    assert total == stages + shortcuts + 640


def test_the_extra_weights_of_se_and_eca_on_resnet50() -> None:
    assert count(resnet("resnet50", "se", 1000), 224).head_weights == 2_514_944
    assert count(resnet("resnet50", "eca", 1000), 224).head_weights == 86
    assert count(resnet("resnet50", "eca", 1000), 224).head_macs == 87_808
    assert count(resnet("resnet50", "eca", 1000, kernel_size=3), 224).head_macs == 45_312


def test_multiply_accumulates_follow_the_image_size() -> None:
    """A head's do not."""
    net = resnet("resnet20", "eca")
    small, large = count(net, 32), count(net, 64)
    assert small.head_macs == large.head_macs
    assert large.macs - large.head_macs - 640 == 4 * (small.macs - small.head_macs - 640)


@pytest.mark.parametrize("training", [False, True])
def test_counting_leaves_the_network_as_it_was(training: bool) -> None:
    net = build_backbone("resnet20", 10, make_head=lambda c: build_head("eca", c)).train(training)
    before, heads = copy.deepcopy(net.state_dict()), heads_of(net)
    assert isinstance(count(net, 32), NetCost)
    assert net.training == training
    assert heads_of(net) == heads
    assert all(weight.device.type == "cpu" and weight.grad is None for weight in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_only_heads_are_taken_out_of_the_count() -> None:
    """Not every module that a network calls `head`, nor one of another kind that was attached."""
    body = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    net = nn.Sequential(OrderedDict(body=body, head=nn.Conv2d(8, 4, 1, bias=False)))
    assert count(net, 16) == NetCost(weights=216 + 32, head_weights=0, macs=(216 + 32) * 16**2, head_macs=0)
    vanilla = count(resnet("resnet20"), 32)
    with torch.device("meta"):
        other = build_backbone("resnet20", 10, make_head=lambda c: nn.Conv2d(c, c, 1, bias=False))
    assert count(other, 32).macs - vanilla.macs == 3 * sum(c * c * side**2 for c, side in ((16, 32), (32, 16), (64, 8)))


def test_a_head_that_is_the_network() -> None:
    class Net(nn.Module):
        def __init__(self, head: Head) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 1, bias=False)
            self.gate = head

        def forward(self, x: Tensor) -> Tensor:
            return self.gate(self.conv(x))  # type: ignore[no-any-return]

    assert count(Net(build_head("se_var2", 16)), 8) == NetCost(48 + 16, 16, 48 * 64 + 16, 16)
    assert count(Net(build_head("se_var3", 16)), 8) == NetCost(48 + 256, 256, 48 * 64 + 256, 256)
