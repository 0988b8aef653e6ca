"""What a network costs: weights and multiply-accumulates, exact; speed, measured side by side."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from eca_ablate.backbones import heads_of
from eca_ablate.heads import Head


@dataclass(frozen=True)
class NetCost:
    """Counts for one network.

    Args:
        weights: trained scalars of the whole network.
        head_weights: those of its heads.
        macs: multiply-accumulates of convolutions and matrix products for one image, heads included.
        head_macs: those of its heads.
    """

    weights: int
    head_weights: int
    macs: int
    head_macs: int


def count(net: nn.Module, image_size: int, of_backbone: int | None = None) -> NetCost:
    """Count weights and multiply-accumulates of a network for one square RGB image.

    Nothing is computed: the network runs on shapes alone. A head's part comes from its own formula, since some heads
    are band products that no FLOP counter sees.

    Args:
        net: from images `[batch, 3, image_size, image_size]` to logits; left as it is.
        image_size: side in pixels.
        of_backbone: its `backbone_macs`, where they are known already.
    """
    heads = [head.cost() for head in heads_of(net)]
    head_macs = sum(cost.macs for cost in heads)
    return NetCost(
        weights=sum(weight.numel() for weight in net.parameters()),
        head_weights=sum(cost.weights for cost in heads),
        macs=(backbone_macs(net, image_size) if of_backbone is None else of_backbone) + head_macs,
        head_macs=head_macs,
    )


def backbone_macs(net: nn.Module, image_size: int) -> int:
    """Count the multiply-accumulates of a network for one square RGB image, its heads left out."""
    vanilla = copy.deepcopy(net).to("meta").eval()
    for module in list(vanilla.modules()):
        for name, child in module.named_children():
            if isinstance(child, Head):
                setattr(module, name, nn.Identity())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        vanilla(torch.empty(1, 3, image_size, image_size, device="meta"))
    return int(counter.get_total_flops()) // 2


def measure_speed(
    nets: Mapping[str, nn.Module],
    image_size: int,
    batch_size: int,
    rounds: int = 5,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Iterator[dict[str, float]]:
    """Measure images a second in training and inference, the networks taking turns, and yield one round at a time.

    A machine's speed drifts, so that only figures of one round may be compared: take the ratio within each round and
    then the median over rounds. The first round warms up and is not yielded.

    Args:
        nets: by name, on the device they are to be measured on, channels last.
        image_size: side in pixels.
        batch_size: images a step.
        rounds: to yield.
        precision: `bf16` is autocast.

    Yields:
        `{"<name>/train": ..., "<name>/infer": ...}` in images a second; a training step is forward, backward and SGD.
    """
    device = next(next(iter(nets.values())).parameters()).device
    x = torch.randn(batch_size, 3, image_size, image_size, device=device).to(memory_format=torch.channels_last)
    for turn in range(rounds + 1):
        figures: dict[str, float] = {}
        for name, net in list(nets.items())[:: 1 if turn % 2 else -1]:
            figures[f"{name}/train"] = batch_size / _seconds(train_step, net, x, precision)
            figures[f"{name}/infer"] = batch_size / _seconds(_infer, net, x, precision)
        if turn:
            yield figures


def _seconds(
    step: Callable[[nn.Module, torch.Tensor, str], None], net: nn.Module, x: torch.Tensor, precision: str
) -> float:
    on_gpu = x.device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
    began = time.perf_counter()
    step(net, x, precision)
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def train_step(net: nn.Module, x: torch.Tensor, precision: str = "fp32") -> None:
    """Do one step of training without an optimiser's state: forward, backward, and a small step down."""
    net.train()
    with _autocast(x, precision):
        loss = net(x).float().square().mean()
    loss.backward()
    with torch.no_grad():
        for weight in net.parameters():
            assert weight.grad is not None  # noqa: S101  (every weight takes part)
            weight.sub_(weight.grad, alpha=1e-6)
            weight.grad = None


def _infer(net: nn.Module, x: torch.Tensor, precision: str) -> None:
    net.eval()
    with torch.inference_mode(), _autocast(x, precision):
        net(x)


def _autocast(x: torch.Tensor, precision: str) -> torch.autocast:
    return torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
