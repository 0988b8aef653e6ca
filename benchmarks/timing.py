"""Timing in turns: A B A B, warm-up discarded, ratios within a round, medians with quartiles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import record
import torch

Times = dict[str, list[float]]


def alternate(
    steps: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 2, at_least: float = 0.0
) -> dict[str, list[float]]:
    """Return the seconds of each step, one figure a round; the order turns round every other time.

    Args:
        steps: by name.
        rounds: to return.
        warmup: times that each is called before.
        at_least: seconds that a timing lasts; a shorter step is called so often that it does, and the mean is taken.
    """
    repeats: dict[str, int] = {}
    for name, step in steps.items():
        for _ in range(warmup):
            seconds(step)
        repeats[name] = max(1, round(at_least / max(1e-9, seconds(step)))) if at_least else 1
    times: Times = {name: [] for name in steps}
    for turn in range(rounds):
        for name in list(steps) if turn % 2 == 0 else reversed(list(steps)):
            times[name].append(seconds(steps[name], repeats[name]))
    return times


def seconds(step: Callable[[], object], repeats: int = 1) -> float:
    """Return how long one call takes, the device's work included."""
    synchronise()
    began = time.perf_counter()
    for _ in range(repeats):
        step()
    synchronise()
    return (time.perf_counter() - began) / repeats


def synchronise() -> None:
    """Wait for the device."""
    if record.on_gpu():
        torch.cuda.synchronize()


def ratios(times: Mapping[str, Sequence[float]], name: str, to: str) -> list[float]:
    """Return the ratio of two steps' times within each round."""
    return [a / b for a, b in zip(times[name], times[to], strict=True)]


def spread(values: Sequence[float], prefix: str, digits: int = 3) -> dict[str, float]:
    """Return median and quartiles as columns."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    shown = {"": middle, "_q1": low, "_q3": high}
    return {f"{prefix}{end}": float(f"{value:.{digits + 1}g}") for end, value in shown.items()}


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return some columns of rows as aligned text."""
    cells = [list(columns), *([str(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
