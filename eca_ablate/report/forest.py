"""Paired differences to the baseline with their intervals: a forest plot, one line a label."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eca_ablate.report.style import COLUMN, PAGE, look_of, plain

_LONGEST = 30


def width(compared: pd.DataFrame) -> float:
    """Return the width in inches: one column, or the page where labels are long."""
    longest = max((len(str(label)) for label in compared["label"]), default=0)
    return COLUMN if longest <= 18 else PAGE


def height(compared: pd.DataFrame) -> float:
    """Return the height in inches."""
    return 0.65 + 0.2 * max(2, len(compared))


def draw_differences(figure: Figure, compared: pd.DataFrame, heads: Mapping[str, str], baseline: str) -> None:
    """Draw each difference to the baseline, its interval, the zero line, and the verdict in words.

    What reaches far beyond the other intervals ends in an arrow at the edge.

    Args:
        figure: to draw on.
        compared: what `compare` returned.
        heads: the head of each label, which gives its colour.
        baseline: the label that all are compared with.
    """
    axes = figure.add_subplot()
    lines = compared.to_dict("records")
    axes.axvline(0, color="#333333", linewidth=0.8, zorder=1)
    axes.grid(True, axis="x")
    reach = span(lines)
    for at, line in enumerate(lines):
        if math.isfinite(line["difference"]) and line["verdict"] != "same network":
            _draw_line(axes, at, line, heads.get(str(line["label"]), ""), reach)
    margin = 0.04 * (reach[1] - reach[0])
    counts = sorted({int(line["n"]) for line in lines})
    common = f", n = {counts[0]}" if len(counts) == 1 else ""
    axes.set(
        xlim=(reach[0] - margin, reach[1] + margin),
        ylim=(len(lines) - 0.5, -0.5),
        xlabel=f"points of test top-1 above {plain(baseline, 24)}{common}",
    )
    places = range(len(lines))
    axes.set_yticks(places, [plain(str(line["label"]), _LONGEST) for line in lines])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    words = axes.secondary_yaxis("right")
    words.set_yticks(places, [_words(line, bool(common)) for line in lines])
    words.tick_params(axis="y", length=0)
    words.spines["right"].set_visible(False)


def span(lines: Sequence[Mapping[Any, Any]]) -> tuple[float, float]:
    """Return the ends of the axis: zero and all intervals are in, up to ten times the usual distance from zero."""
    ends = [[line[name] for name in ("low", "difference", "high") if math.isfinite(line[name])] for line in lines]
    far = [max(map(abs, values)) for values in ends if values]
    most = 10 * statistics.median(far) if far else 0.0
    inside = [value for values in ends for value in values if abs(value) <= most]
    beyond = [math.copysign(most, value) for values in ends for value in values if abs(value) > most]
    low, high = min([0.0, *inside, *beyond]), max([0.0, *inside, *beyond])
    return (low, high) if low < high else (-1.0, 1.0)


def _draw_line(axes: Axes, at: int, line: Mapping[Any, Any], head: str, reach: tuple[float, float]) -> None:
    look = look_of(head)
    low, high, middle = line["low"], line["high"], line["difference"]
    if math.isfinite(low) and math.isfinite(high):
        inner = max(low, reach[0]), min(high, reach[1])
        if inner[0] < inner[1]:
            axes.plot(inner, (at, at), color=look.colour, linewidth=1.1, solid_capstyle="butt", zorder=2)
            for end, mark in zip(inner, ("<" if low < reach[0] else "|", ">" if high > reach[1] else "|"), strict=True):
                axes.plot([end], [at], marker=mark, markersize=3.5, color=look.colour, markeredgewidth=0.9, zorder=2)
    if reach[0] <= middle <= reach[1]:
        axes.plot([middle], [at], marker=look.marker, markersize=4.8, color=look.colour, zorder=3)
    else:
        end, mark = (reach[0], "<") if middle < reach[0] else (reach[1], ">")
        axes.plot([end], [at], marker=mark, markersize=4.8, color=look.colour, zorder=3)


def _words(line: Mapping[Any, Any], counted: bool) -> str:
    """Return the verdict, without its n where the axis says it for all."""
    return str(line["verdict"]).removesuffix(f" at n = {line['n']}") if counted else str(line["verdict"])
