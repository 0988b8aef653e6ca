"""What each head of Table 2 costs a ResNet-50, -18 and -20: speed and memory, the columns of the paper's Table 3.

Run:      python benchmarks/overhead.py
Writes:   results/benchmarks/overhead.csv

Ratios are to the network without heads, within a round. `extra_maps` is the peak memory of a training step over that of
vanilla, weights and what belongs to them aside, in units of all maps that enter a head: 1 is one further map a head.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import memory
import record
import timing
import torch
from torch import nn

from eca_ablate.backbones import build_backbone, heads_of
from eca_ablate.config import BackboneConfig, BackboneName, Experiment
from eca_ablate.cost import measure_speed, train_step
from eca_ablate.machine import best_device, native_bf16
from eca_ablate.plan import resolve_arms
from eca_ablate.run import attach, next_head

# Table 3 of the paper, four RTX 2080 Ti: images a second over those of ResNet-50, training and inference.
PAPER = {("resnet50", "SE"): (759 / 1024, 1620 / 1855), ("resnet50", "ECA (adaptive)"): (785 / 1024, 1805 / 1855)}
# Batch on a CPU (128 on a GPU), side of the images, classes, width: ResNet-20 as in experiments/table2_cifar10.yaml.
SETTINGS: dict[BackboneName, tuple[int, int, int, float]] = {
    "resnet50": (8, 224, 1000, 1),
    "resnet18": (16, 224, 1000, 1),
    "resnet20": (128, 32, 10, 2),
}


def networks(name: BackboneName, heads: Any) -> dict[str, nn.Module]:
    """Return the network of every head by its label."""
    _, _, classes, width = SETTINGS[name]
    question = Experiment(backbone=BackboneConfig(name, width=width), heads=heads)
    nets: dict[str, nn.Module] = {}
    for arm in resolve_arms(question):
        torch.manual_seed(0)
        net = attach(build_backbone(name, classes, width=width), next_head(arm.blocks))
        nets[arm.label] = net.to(best_device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    return nets


def peaks(nets: Mapping[str, nn.Module], batch: int, side: int, precision: str) -> dict[str, tuple[int, float]]:
    """Return the peak bytes of a training step, and the extra maps of each network over the first."""
    device = best_device()
    x = torch.randn(batch, 3, side, side, device=device).to(memory_format=torch.channels_last)
    found: dict[str, tuple[int, float]] = {}
    vanilla = 0
    for label, net in nets.items():
        entered: list[int] = []
        hooks = [
            head.register_forward_pre_hook(lambda _, inputs, to=entered: to.append(inputs[0].nbytes))
            for head in heads_of(net)
        ]
        train_step(net, x, precision)  # makes what stays
        for hook in hooks:
            hook.remove()
        with memory.deterministic_workspace():
            peak = memory.peak_bytes(lambda net=net: train_step(net, x, precision), device)
        weights = sum(4 * weight.numel() for weight in net.parameters())  # their gradients
        weights += weights // 2 if precision == "bf16" else 0  # and autocast's copies
        vanilla = vanilla or peak - weights
        found[label] = peak, (peak - weights - vanilla) / sum(entered) if entered else 0.0
    return found


def measure(name: BackboneName, heads: Any, batch: int, side: int, rounds: int, precision: str) -> list[dict[str, Any]]:
    """Return one row a head."""
    nets = networks(name, heads)
    memories = peaks(nets, batch, side, precision)
    figures = list(measure_speed(nets, side, batch, rounds, "bf16" if precision == "bf16" else "fp32"))
    rows: list[dict[str, Any]] = []
    first = next(iter(nets))
    for label in nets:
        peak, extra = memories[label]
        row: dict[str, Any] = {"backbone": name, "label": label, "image_size": side, "batch": batch}
        row |= {"precision": precision, "rounds": rounds}
        paper = PAPER.get((name, label), ("", ""))
        for kind, printed in zip(("train", "infer"), paper, strict=True):
            speeds = [figure[f"{label}/{kind}"] for figure in figures]
            to_vanilla = [figure[f"{label}/{kind}"] / figure[f"{first}/{kind}"] for figure in figures]
            row[f"{kind}_images_per_s"] = round(statistics.median(speeds), 2)
            row |= timing.spread(to_vanilla, f"{kind}_ratio")
            row[f"{kind}_ratio_paper"] = round(printed, 3) if printed else ""
        row |= {"peak_mb": round(peak / 1e6, 1), "peak_ratio": round(peak / memories[first][0], 4)}
        rows.append({**row, "extra_maps": round(extra, 4)})
    return rows


def main() -> None:
    """Measure both networks and write the rows."""
    parser = record.options(__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--backbone", choices=list(SETTINGS), help="only this one")
    given = parser.parse_args()
    precision = "bf16" if native_bf16() else "fp32"
    rows: list[dict[str, Any]] = []
    for name in [given.backbone] if given.backbone else ["resnet18"] if given.quick else list(SETTINGS):
        batch, side, _, _ = SETTINGS[name]
        batch = 2 if given.quick else 128 if record.on_gpu() else batch
        heads = ["none", "eca"] if given.quick else "table2"
        side, rounds = (32, 1) if given.quick else (side, given.rounds)
        rows += measure(name, heads, batch, side, rounds, precision)
        record.write(given.out / "overhead.csv", [{**row, **record.conditions()} for row in rows])
    print(timing.table(rows, ("backbone", "label", "train_ratio", "infer_ratio", "peak_ratio", "extra_maps")))


if __name__ == "__main__":
    main()
