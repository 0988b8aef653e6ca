"""The networks have the published sizes, and a head is the only thing that `attach` changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.resnet import BasicBlock, Bottleneck

from eca_ablate.backbones import CifarResNet, attach, build_backbone, heads_of, places
from eca_ablate.config import CIFAR_BACKBONES, BackboneName
from eca_ablate.errors import ConfigError
from eca_ablate.heads import HEADS, Head, build_head
from eca_ablate.kernel_size import RELEASED

BASIC = (64, 128, 256, 512)
BOTTLENECK = (256, 512, 1024, 2048)
# Weights with 1000 classes; vanilla and SE (r = 16) as printed, where a million is 2^20; ECA's weights over all blocks
# by the rule with both roundings, and as released; blocks a stage; channels.
PUBLISHED: dict[BackboneName, tuple[Any, ...]] = {
    "resnet18": (11_689_512, "11.148", "11.231", 36, 32, 44, (2, 2, 2, 2), BASIC),
    "resnet34": (21_797_672, "20.788", "20.938", 74, 66, 72, (3, 4, 6, 3), BASIC),
    "resnet50": (25_557_032, "24.37", "26.77", 86, 80, 80, (3, 4, 6, 3), BOTTLENECK),
    "resnet101": (44_549_160, "42.49", "47.01", 171, 165, 157, (3, 4, 23, 3), BOTTLENECK),
    "resnet152": (60_192_808, "57.40", "63.68", 256, 250, 234, (3, 8, 36, 3), BOTTLENECK),
}
OPTIONS: dict[str, dict[str, Any]] = {"se": {"reduction": 4}, "se_gc": {"groups": 4}}


def head(name: str, **options: Any) -> Callable[[int], Head]:
    return lambda channels: build_head(name, channels, **(options or OPTIONS.get(name, {})))


def weights(net: nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


def on_meta(name: BackboneName, **arguments: Any) -> nn.Module:
    with torch.device("meta"):
        return build_backbone(name, 1000, **arguments)


def printed(count: int, digits: str) -> str:
    return f"{count / 2**20:.{len(digits.partition('.')[2])}f}"


def shake(net: nn.Module) -> None:
    """Give the normalisations statistics and weights that are not those of a fresh network."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -1, 1),
                (module.running_mean, -1, 1),
                (module.running_var, 0.5, 2),
            ):
                assert value is not None
                nn.init.uniform_(value, low, high)


def without_norm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of the backbone alone, under the names it has without heads."""
    return {key.replace(".norm.", "."): value for key, value in state.items() if ".head." not in key}


def sizes_after(net: nn.Module, *names: str) -> list[tuple[str, tuple[int, ...]]]:
    """Return a list that fills, as the network runs, with the size of the map after each of these modules."""
    seen: list[tuple[str, tuple[int, ...]]] = []
    for name in names:

        def note(_module: nn.Module, _args: object, out: Tensor, name: str = name) -> None:
            seen.append((name, tuple(out.shape[1:])))

        net.get_submodule(name).register_forward_hook(note)
    return seen


# --- published sizes


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights(name: BackboneName) -> None:
    vanilla, vanilla_printed, se_printed, code, nearest, released, blocks, channels = PUBLISHED[name]
    ks = dict(zip(channels, RELEASED[f"released_{name}"], strict=True))
    net = on_meta(name)
    assert weights(net) == vanilla
    assert printed(vanilla, vanilla_printed) == vanilla_printed
    se = on_meta(name, make_head=lambda c: build_head("se", c))
    assert printed(weights(se), se_printed) == se_printed
    for make_head, extra in (
        (lambda c: build_head("eca", c), code),
        (lambda c: build_head("eca", c, rounding="nearest"), nearest),
        (lambda c: build_head("eca", c, kernel_size=ks[c]), released),
    ):
        assert weights(on_meta(name, make_head=make_head)) - vanilla == extra
    found = places(net)
    assert [place.channels for place in found] == [c for n, c in zip(blocks, channels, strict=True) for _ in range(n)]
    assert [place.stage for place in found] == [stage for stage, n in enumerate(blocks) for _ in range(n)]


def test_resnet50_has_86_80_and_80_weights_more() -> None:
    """The three ways to count ECA-Net50: the official figure's rule, ties down, and the released 3-5-5-7."""
    assert PUBLISHED["resnet50"][3:6] == (86, 80, 80)


def test_resnet20_and_its_heads() -> None:
    net = build_backbone("resnet20", 10)
    assert weights(net) == 272_474
    se = build_backbone("resnet20", 10, make_head=lambda c: build_head("se", c))
    biases = 3 * sum(c + c // 16 for c in (16, 32, 64))
    assert weights(se) + biases == 274_847  # as counted by imgclsmob, whose SE has biases
    eca = build_backbone("resnet20", 10, make_head=lambda c: build_head("eca", c))
    assert weights(eca) == 272_474 + 9 * 3


@pytest.mark.parametrize("name", CIFAR_BACKBONES)
@pytest.mark.parametrize("width", [0.0625, 0.5, 1.0, 2.0])
def test_cifar_resnets_by_formula(name: BackboneName, width: float) -> None:
    """Two 3×3 convolutions a block with their normalisations, two 1×1 shortcuts, a stem and a linear layer."""
    n = (int(name.removeprefix("resnet")) - 2) // 6
    a, b, c = (int(base * width) for base in (16, 32, 64))
    stage = lambda before, after: 9 * before * after + 9 * (2 * n - 1) * after**2 + 2 * n * 2 * after  # noqa: E731
    shortcut = lambda before, after: before * after + 2 * after  # noqa: E731
    total = 27 * a + 2 * a + stage(a, a) + stage(a, b) + shortcut(a, b) + stage(b, c) + shortcut(b, c) + 10 * c + 10
    with torch.device("meta"):
        net = build_backbone(name, 10, width=width)
    assert weights(net) == total
    assert [place.channels for place in places(net)] == [a] * n + [b] * n + [c] * n
    assert [place.stage for place in places(net)] == [0] * n + [1] * n + [2] * n


def test_cifar_resnet_maps_images_to_classes() -> None:
    net = build_backbone("resnet20", 7, width=0.5, make_head=head("eca")).eval()
    sizes = sizes_after(net, "layer1", "layer2", "layer3")
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert sizes == [("layer1", (8, 32, 32)), ("layer2", (16, 16, 16)), ("layer3", (32, 8, 8))]


def test_cifar_stem() -> None:
    net = build_backbone("resnet18", 10, stem="cifar").eval()
    plain = build_backbone("resnet18", 10)
    assert weights(plain) - weights(net) == 64 * 3 * (49 - 9)
    sizes = sizes_after(net, "conv1", "layer1", "layer4")
    assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert sizes == [("conv1", (64, 32, 32)), ("layer1", (64, 32, 32)), ("layer4", (512, 4, 4))]
    std = net.conv1.weight.std().item()  # type: ignore[union-attr, operator]
    assert std == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)  # He initialisation by fan-out, as in the other layers


def test_imagenet_stem_is_torchvisions() -> None:
    torch.manual_seed(3)
    net = build_backbone("resnet18", 10)
    torch.manual_seed(3)
    original = get_model("resnet18", weights=None, num_classes=10)
    assert net.state_dict().keys() == original.state_dict().keys()
    assert all(torch.equal(value, original.state_dict()[key]) for key, value in net.state_dict().items())


# --- placement


@pytest.mark.parametrize("name", ["resnext50_32x4d", "wide_resnet50_2"])
def test_attach_to_other_torchvision_resnets(name: str) -> None:
    with torch.device("meta"):
        net = get_model(name, weights=None)
        before = weights(net)
        assert attach(net, lambda c: build_head("eca", c)) is net
        assert weights(net) - before == 86
        assert [found.channels for found in heads_of(net)] == [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
        assert net(torch.empty(2, 3, 64, 64)).shape == (2, 1000)


def blocks_to_check() -> list[Any]:
    shortcut = nn.Sequential(nn.Conv2d(8, 32, 1, 2, bias=False), nn.BatchNorm2d(32))
    return [
        pytest.param(lambda: BasicBlock(8, 8), "conv1 conv2", id="basic"),
        pytest.param(lambda: BasicBlock(8, 32, 2, shortcut), "conv1 conv2", id="basic, smaller map"),
        pytest.param(lambda: Bottleneck(8, 2), "conv1 conv2 conv3", id="bottleneck"),
        pytest.param(lambda: Bottleneck(8, 8, 2, shortcut), "conv1 conv2 conv3", id="bottleneck, smaller map"),
    ]


@pytest.mark.parametrize("head_name", [name for name in HEADS if name != "none"])
@pytest.mark.parametrize(("make_block", "convolutions"), blocks_to_check())
@pytest.mark.parametrize("training", [False, True])
def test_head_sits_after_the_last_norm_and_before_the_addition(
    make_block: Callable[[], nn.Module], convolutions: str, head_name: str, training: bool
) -> None:
    """Against the block's forward pass written by hand, with its gradients."""
    torch.manual_seed(0)
    net = nn.Sequential(make_block())
    shake(net)
    attach(net, head(head_name))
    net.double().train(training)
    block: Any = net[0]
    last = f"bn{len(convolutions.split())}"
    (inserted,) = heads_of(net)

    def by_hand(x: Tensor) -> Tensor:
        out = x
        for index, name in enumerate(convolutions.split(), start=1):
            out = getattr(block, name)(out)
            if f"bn{index}" == last:
                out = inserted(getattr(block, last).norm(out))
            else:
                out = torch.relu(getattr(block, f"bn{index}")(out))
        return torch.relu(out + (x if block.downsample is None else block.downsample(x)))

    x = torch.randn(3, 8, 6, 6, dtype=torch.float64)
    target = torch.randn_like(by_hand(x))
    results = []
    for forward in (net, by_hand):
        net.zero_grad()
        out = forward(x)
        (out * target).sum().backward()
        results.append([out, *(weight.grad.clone() for weight in net.parameters() if weight.grad is not None)])
    assert len(results[0]) == 1 + len(list(net.parameters()))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20"])
def test_make_head_is_called_once_a_block_in_order(name: BackboneName) -> None:
    called: list[int] = []
    net = on_meta(name, make_head=lambda c: called.append(c) or build_head("eca", c))  # type: ignore[func-returns-value]
    assert called == [place.channels for place in places(on_meta(name))]
    assert [found.channels for found in heads_of(net)] == called
    order: list[Head] = []
    for found in heads_of(net):
        found.register_forward_hook(lambda module, *_: order.append(module))
    net(torch.empty(2, 3, 64, 64, device="meta"))
    assert order == heads_of(net)


@pytest.mark.parametrize("make_head", [lambda _: None, lambda c: build_head("none", c)], ids=["None", "none"])
def test_the_vanilla_network_has_nothing_inserted(make_head: Callable[[int], Head | None]) -> None:
    torch.manual_seed(0)
    vanilla = build_backbone("resnet20", 10)
    torch.manual_seed(0)
    net = build_backbone("resnet20", 10, make_head=make_head)
    assert list(net.state_dict()) == list(vanilla.state_dict())
    assert all(torch.equal(value, vanilla.state_dict()[key]) for key, value in net.state_dict().items())
    assert heads_of(net) == []


@pytest.mark.parametrize("head_name", HEADS)
@pytest.mark.parametrize(("name", "stem"), [("resnet20", None), ("resnet18", "cifar")])
def test_a_seed_gives_the_same_backbone_under_every_head(name: BackboneName, stem: Any, head_name: str) -> None:
    torch.manual_seed(5)
    vanilla = build_backbone(name, 10, stem)
    torch.manual_seed(5)
    net = build_backbone(name, 10, stem, make_head=head(head_name))
    state = without_norm(net.state_dict())
    assert list(state) == list(vanilla.state_dict())
    assert all(torch.equal(value, vanilla.state_dict()[key]) for key, value in state.items())


def test_heads_in_some_blocks_only() -> None:
    net = build_backbone("resnet20", 10, make_head=lambda c: build_head("eca", c) if c == 64 else None)
    assert [found.channels for found in heads_of(net)] == [64, 64, 64]
    assert net.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_any_module_can_be_inserted() -> None:
    net = build_backbone("resnet20", 10, make_head=lambda c: nn.Conv2d(c, c, 1))
    assert heads_of(net) == []
    assert weights(net) == 272_474 + 3 * sum(c * c + c for c in (16, 32, 64))


# --- refusals


@pytest.mark.parametrize("second", ["eca", "none"])
def test_a_network_with_heads_is_refused(second: str) -> None:
    net = build_backbone("resnet20", 10, make_head=lambda c: build_head("eca", c) if c == 64 else None)
    with pytest.raises(ValueError, match=r"block `layer3\.0` has a head already; attach heads to a fresh network"):
        attach(net, head(second))
    assert len(heads_of(net)) == 3


def test_a_network_without_residual_blocks_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    with pytest.raises(
        ValueError, match="`Sequential` has no residual blocks: heads follow torchvision's BasicBlock or"
    ):
        attach(net, head("eca"))


def test_a_head_that_does_not_fit_leaves_the_network_as_it_was() -> None:
    net = build_backbone("resnet20", 10)
    keys = list(net.state_dict())
    with pytest.raises(ValueError, match="`kernel_size <= 2C - 1` must hold"):
        attach(net, lambda c: build_head("eca", c, kernel_size=3 if c < 64 else 129))
    assert list(net.state_dict()) == keys


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ({"name": "resnet21"}, ["backbone.name", "unknown backbone 'resnet21' (did you mean `resnet", "resnet152"]),
        ({"name": "resnet18", "stem": "cifer"}, ["backbone.stem", "unknown stem 'cifer' (did you mean `cifar`?)"]),
        ({"name": "resnet20", "stem": "imagenet"}, ["backbone.stem", "`resnet20` is a CIFAR ResNet", "resnet18"]),
        (
            {"name": "resnet20", "width": 0.1},
            ["backbone.width", "16 × width must be a whole number", "but got width 0.1"],
        ),
        ({"name": "resnet20", "width": 0}, ["backbone.width", "at least 1, but got width 0"]),
        ({"name": "resnet18", "width": 2}, ["backbone.width", "have a width, but got 2.0 for `resnet18`"]),
    ],
)
def test_impossible_backbones_are_refused(arguments: dict[str, Any], fragments: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        build_backbone(num_classes=10, **arguments)
    for fragment in fragments:
        assert fragment in str(error.value)


def test_a_network_needs_classes() -> None:
    with pytest.raises(ValueError, match="`num_classes >= 1` must hold, but got 0"):
        build_backbone("resnet20", 0)


def test_the_cifar_resnet_is_exported() -> None:
    assert isinstance(build_backbone("resnet32", 10), CifarResNet)
