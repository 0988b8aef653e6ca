"""Searches as they leave their files, made of the real rule and an invented accuracy."""

from __future__ import annotations

import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

from made_rows import make_row

from eca_ablate.kernel_size import adaptive_kernel_size
from eca_ablate.report import SEARCH_FILE, write_points, write_rows

THREE, FOUR = (32, 64, 128), (64, 128, 256, 512)
GAMMAS = [1 + i / 4 for i in range(13)]
BS = [-4 + i / 2 for i in range(17)]
SPACE = {"gamma": {"low": 1, "high": 4, "step": 0.25}, "b": {"low": -4, "high": 4, "step": 0.5}}


def sizes(channels: tuple[int, ...], gamma: float, b: float) -> str:
    return "-".join(str(adaptive_kernel_size(c, gamma, b)) for c in channels)


def below_one(channels: tuple[int, ...], gamma: float, b: float) -> bool:
    return any(abs(math.log2(c) + b) / gamma < 1 for c in channels)


def accuracy(kernel_sizes: str, seed: int, noise: float = 0.25) -> float:
    """Best around k = 5, with noise that is a function of network and seed."""
    ks = [int(k) for k in kernel_sizes.split("-")]
    trend = 94.4 - 0.09 * sum((k - 5) ** 2 for k in ks) / len(ks) - 0.3 * ks.count(1) / len(ks)
    return trend + noise * random.Random(f"{kernel_sizes}/{seed}").gauss(0, 1)


class Made:
    """A search under way.

    Args:
        seeds: how many runs a network gets.
        **facts: for `search.json`.
    """

    def __init__(self, seeds: int = 3, **facts: Any) -> None:
        self.seeds = list(range(seeds))
        self.facts = {
            "head": "eca",
            "space": {},
            "sampler": "all",
            "pruner": "none",
            "trials": None,
            "metric": "val_top1",
            "direction": "maximize",
            "seeds": self.seeds,
            "fresh_seeds": [seed + seeds for seed in self.seeds],
            "channels": list(THREE),
            "rounding": "code",
            **facts,
        }
        self.points: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.importance: dict[str, Any] | None = None
        self._first: dict[str, dict[str, Any]] = {}

    def add(
        self,
        params: dict[str, Any],
        kernel_sizes: str = "",
        label: str = "",
        values: list[float] | None = None,
        state: str = "complete",
        below: bool = False,
        network: str = "",
    ) -> None:
        """Add a point; the first of a network brings the network's runs."""
        network = network or f"net-{label}-{kernel_sizes}"
        label = label or f"ECA {kernel_sizes}"
        first = self._first.get(network)
        if first is None:
            first = {"number": len(self.points), "state": state, "value": None}
            self._first[network] = first
            done = [accuracy(kernel_sizes, seed) for seed in self.seeds] if values is None else values
            done = [] if state == "waiting" else done[:1] if state == "pruned" else done
            for seed, value in enumerate(done):
                lost = state == "diverged" and seed == len(done) - 1
                self.runs.append(
                    make_row(
                        label,
                        seed,
                        row=len(self._first),
                        head="eca",
                        network=network,
                        key=f"{network}-{seed}",
                        kernel_sizes=kernel_sizes,
                        status="diverged" if lost else "done",
                        val_top1=None if lost else value,
                    )
                )
            first["value"] = sum(done) / len(done) if state == "complete" else None
        self.points.append(
            {
                "point": len(self.points),
                "state": first["state"],
                "value": first["value"],
                "network": network,
                "kernel_sizes": kernel_sizes,
                "label": label,
                "below_one": below,
                "shared_with": first["number"] if first["number"] != len(self.points) else None,
                "params": params,
                "finished_at": None if first["state"] == "waiting" else "2026-01-02T03:04:05+00:00",
            }
        )

    def write(self, folder: Path) -> Path:
        write_points(folder, self.points)
        write_rows(folder, self.runs, file=SEARCH_FILE)
        (folder / "search.json").write_text(json.dumps(self.facts))
        if self.importance:
            (folder / "importance.json").write_text(json.dumps(self.importance))
        return folder


def pairs(channels: tuple[int, ...] = THREE, states: dict[str, str] | None = None, seeds: int = 3) -> Made:
    """Make all 221 pairs of γ and b."""
    made = Made(seeds, space=SPACE, channels=list(channels))
    for gamma, b in itertools.product(GAMMAS, BS):
        ks = sizes(channels, gamma, b)
        state = (states or {}).get(ks, "complete")
        made.add({"gamma": gamma, "b": b}, ks, state=state, below=below_one(channels, gamma, b))
    return made


def fixed_sizes(channels: tuple[int, ...] = FOUR, seeds: int = 5) -> Made:
    """Make a search over one k for all stages, and the adaptive choice."""
    made = Made(seeds, space={"kernel_size": [1, 3, 5, 7, 9, "adaptive"]}, channels=list(channels))
    for k in (1, 3, 5, 7, 9):
        made.add({"kernel_size": k}, "-".join([str(k)] * len(channels)))
    made.add({"kernel_size": "adaptive"}, sizes(channels, 2, 1))
    return made


def each_stage(number: int = 40, seeds: int = 3) -> Made:
    """Make a sampled search over one k for each stage, some of it pruned, some diverged."""
    space = {"kernel_size": {"each_stage": [1, 3, 5, 7]}}
    made = Made(seeds, space=space, sampler="tpe", pruner="wilcoxon", trials=number)
    chance = random.Random(0)
    for at in range(number):
        ks = [chance.choice([1, 3, 5, 7] if at < 12 else [3, 5, 5, 7]) for _ in THREE]
        state = "diverged" if at in (9, 23) else "pruned" if at > 12 and ks.count(1) + ks.count(7) > 1 else "complete"
        made.add({f"kernel_size_{i + 1}": k for i, k in enumerate(ks)}, "-".join(map(str, ks)), state=state)
    made.importance = {
        "evaluator": "fANOVA, 64 trees, seed 0",
        "importance": {"kernel_size_1": 0.61, "kernel_size_2": 0.27, "kernel_size_3": 0.12},
    }
    return made


def heads(number: int = 30, seeds: int = 3) -> Made:
    """Make a sampled search over heads, their options and the learning rate."""
    made = Made(seeds, head={"eca": {}, "se": {}, "se_gc": {}}, space={}, sampler="tpe", trials=number)
    chance = random.Random(1)
    for at in range(number):
        head = chance.choice(["eca", "se", "se_gc", "eca_ns"])
        lr = 10 ** chance.uniform(-2.5, -0.2)
        option = {"eca": "kernel_size", "eca_ns": "kernel_size", "se": "reduction", "se_gc": "groups"}[head]
        value = chance.choice([3, 5, 7]) if option == "kernel_size" else chance.choice([4, 8, 16])
        label = f"{head} {option}={value}, lr={lr:g}"
        level = 94 - 2.2 * (math.log10(lr) + 1) ** 2 - (60 if at == 17 else 0)
        values = [level + chance.gauss(0, 0.2) for _ in range(seeds)]
        params = {"head": head, f"{head}.{option}": value, "recipe.lr": lr}
        made.add(params, label=label, values=values, state="diverged" if at == 5 else "complete")
    made.importance = {
        "evaluator": "fANOVA, 64 trees, seed 0",
        "importance": {"recipe.lr": 0.83, "head": 0.09, "eca.kernel_size": 0.05, "se.reduction": 0.02},
    }
    return made
