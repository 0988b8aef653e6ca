"""The figures of a search. Each is drawn only where its points exist, and reads nothing but results."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eca_ablate.report.gamma_b import draw_map, draw_pairs
from eca_ablate.report.limits import limits
from eca_ablate.report.networks import Network
from eca_ablate.report.pair_map import pair_map, pair_of
from eca_ablate.report.points import SearchFacts, SearchPoint, load_json
from eca_ablate.report.style import COLUMN, GREY, MARKS, PAGE, legend_below, look_of, plain, save

FOLDER = "figures"
IMPORTANCE_FILE = "importance.json"
_DASHES = ("--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))


def write_figures(
    folder: Path, points: Sequence[SearchPoint], networks: Sequence[Network], facts: SearchFacts
) -> list[str]:
    """Write the figures that these points allow into `figures/`, each as SVG and PNG. Returns their names."""
    known = {one.network: one for one in networks}
    written: list[str] = []

    def put(name: str, draw: Any, width: float, height: float) -> None:
        save(folder / FOLDER / name, draw, width, height)
        written.append(name)

    sizes = plain_sizes(points, known, facts)
    if any(one.mean is not None and isinstance(k, int) for (_, k), one in sizes.items()):
        put("kernel_size", lambda figure: draw_kernel_size(figure, sizes, facts), COLUMN, 2.6)
    grid = pair_map(points, facts)
    pairs = [point for point in points if pair_of(point) is not None]
    if grid is not None:
        height = 1.2 + min(6.0, max(1.5, 0.19 * len(grid.bs)))
        put("gamma_b", lambda figure: draw_map(figure, grid, known, facts), PAGE, height)
    elif pairs:
        put("gamma_b", lambda figure: draw_pairs(figure, pairs, known, facts), COLUMN, 3.0)
    if points:
        put("history", lambda figure: draw_history(figure, points, facts), COLUMN, 2.6)
    found = _importance(folder)
    if found is not None:
        evaluator, shares = found
        height = 0.8 + 0.2 * min(len(shares), 20)
        put("importance", lambda figure: draw_importance(figure, shares, evaluator), COLUMN, height)
    return written


def plain_sizes(
    points: Sequence[SearchPoint], networks: Mapping[str, Network], facts: SearchFacts
) -> dict[tuple[str, int | str], Network]:
    """Return the network of each head and `kernel_size` of points that propose nothing else.

    The kernel size is a number, or a name such as `adaptive`.
    """
    found: dict[tuple[str, int | str], Network] = {}
    for point in points:
        options = point.options()
        k = options.get("kernel_size")
        if set(options) == {"kernel_size"} and isinstance(k, int | str) and not isinstance(k, bool):
            found[point.head(facts.head), k] = networks[point.network]
    return found


def draw_kernel_size(figure: Figure, sizes: Mapping[tuple[str, int | str], Network], facts: SearchFacts) -> None:
    """Draw the metric over fixed k, and choices such as `adaptive` as lines: the form of the paper's Figure 4."""
    axes = figure.add_subplot()
    axes.grid(True, axis="y")
    heads = list(dict.fromkeys(head for head, _ in sizes))
    every = sorted({k for _, k in sizes if isinstance(k, int)})
    space = min((b - a for a, b in itertools.pairwise(every)), default=1)
    for place, head in enumerate(heads):
        shift = (place - (len(heads) - 1) / 2) * 0.12 * space
        name = f"{_title(head)} " if len(heads) > 1 else ""
        fixed = {k: one for (whose, k), one in sizes.items() if whose == head and isinstance(k, int)}
        _draw_fixed(axes, head, {k + shift: fixed[k] for k in sorted(fixed)}, 0.1 * space, f"{name}fixed k")
        named = [(k, one) for (whose, k), one in sizes.items() if whose == head and isinstance(k, str)]
        for dash, (k, one) in zip(_DASHES * len(named), named, strict=False):
            if one.shown is None:
                continue
            colour = "black" if len(heads) == 1 else look_of(head).colour
            if one.std is not None:
                axes.axhspan(one.shown - one.std, one.shown + one.std, color=colour, alpha=0.1, linewidth=0)
            sizes_of = f" ({plain(one.kernel_sizes, 20)})" if one.kernel_sizes else ""
            axes.axhline(one.shown, color=colour, linestyle=dash, linewidth=1, label=f"{name}{plain(k)}{sizes_of}")
    axes.set(xlabel="kernel size k", ylabel=facts.axis)
    if len(every) <= 12:
        axes.set_xticks(every)
    axes.margins(x=0.08)
    if any(one.std is not None for one in sizes.values()):
        axes.plot([], [], linestyle="", marker=".", color=GREY, alpha=0.6, label="one seed")
    legend_below(axes, 2)


def draw_history(figure: Figure, points: Sequence[SearchPoint], facts: SearchFacts) -> None:
    """Draw the value of each point in the order of their numbers, and the best so far."""
    axes = figure.add_subplot()
    axes.grid(True, axis="y")
    values = {point.point: point.value for point in points if point.value is not None and math.isfinite(point.value)}
    span = limits(list(values.values()), facts.direction)
    if span is not None:
        running, best = [], math.inf
        sign = -1 if facts.direction == "maximize" else 1
        for value in values.values():
            best = min(best, sign * value)
            running.append(sign * best)
        axes.step(list(values), running, where="post", color=GREY, linewidth=0.9, zorder=1, label="best so far")
        room = 0.08 * (span.high - span.low)
        axes.set_ylim(span.low - 2.5 * room, span.high + room)
        heads = list(dict.fromkeys(point.head(facts.head) for point in points))
        for head in heads:
            look = look_of(head)
            for shared in (False, True):
                mine = [
                    (point.point, span.clip(values[point.point]))
                    for point in points
                    if point.point in values
                    and point.head(facts.head) == head
                    and (point.shared_with is not None) == shared
                ]
                if not mine:
                    continue
                name = _title(head) if len(heads) > 1 else "new network"
                axes.plot(
                    *zip(*mine, strict=True),
                    linestyle="",
                    marker=look.marker,
                    markersize=3.2,
                    markerfacecolor="white" if shared else look.colour,
                    markeredgecolor=look.colour,
                    markeredgewidth=0.6,
                    label=name if not shared else "same as an earlier one" if len(heads) == 1 else f"{name}, shared",
                    zorder=2 if shared else 3,
                )
        _beyond(axes, {number: value for number, value in values.items() if span.clip(value) != value}, facts)
    else:
        axes.set_yticks([])
    for state in ("pruned", "diverged", "waiting"):
        lost = [point.point for point in points if point.state == state]
        if lost:
            axes.plot(
                lost,
                [0.04] * len(lost),
                linestyle="",
                marker=MARKS[state],
                color="black",
                markersize=4,
                markeredgewidth=0.8,
                transform=axes.get_xaxis_transform(),
                label=state,
            )
    axes.set(xlabel="point", ylabel=facts.axis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    legend_below(axes, 2)


def draw_importance(figure: Figure, shares: Mapping[str, float], evaluator: str) -> None:
    """Draw which parameters explain the spread of the metric, the most important one on top."""
    axes = figure.add_subplot()
    order = sorted(shares, key=lambda name: (shares[name], name))[-20:]
    bars = axes.barh([_parameter(name) for name in order], [shares[name] for name in order], height=0.62)
    for bar in bars:
        bar.set_facecolor(look_of("eca").colour)
    axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=7)
    axes.set_xlim(0, max(1e-9, 1.15 * max(shares.values())))
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"importance by {plain(evaluator)}")


def _draw_fixed(axes: Axes, head: str, fixed: Mapping[float, Network], reach: float, label: str) -> None:
    look = look_of(head)
    drawn = {x: one for x, one in fixed.items() if one.shown is not None}
    for x, one in drawn.items():
        count = max(1, one.n - 1)
        spots = [x + reach * (2 * at / count - 1) if one.n > 1 else x for at in range(one.n)]
        if one.std is not None:
            axes.plot(spots, one.values, linestyle="", marker=".", color=look.colour, alpha=0.35, markeredgewidth=0)
    if drawn:
        axes.errorbar(
            list(drawn),
            [one.shown or 0.0 for one in drawn.values()],
            yerr=[one.std or 0.0 for one in drawn.values()],
            color=look.colour,
            marker=look.marker,
            capsize=2.5,
            elinewidth=0.9,
            zorder=3,
            label=label,
        )


def _beyond(axes: Axes, values: Mapping[int, float], facts: SearchFacts) -> None:
    if values:
        up = facts.direction == "minimize"
        axes.plot(
            list(values),
            [0.985 if up else 0.12] * len(values),
            linestyle="",
            marker=6 if up else 7,  # carets that point at what is not shown
            color="black",
            markersize=4,
            transform=axes.get_xaxis_transform(),
            label="beyond the axis",
        )


def _importance(folder: Path) -> tuple[str, dict[str, float]] | None:
    path = folder / IMPORTANCE_FILE
    if not path.exists():
        return None
    given = load_json(path, "no figure is drawn from it")
    found = given.get("importance")
    shares = {
        str(name): float(share)
        for name, share in (found.items() if isinstance(found, dict) else ())
        if isinstance(share, int | float) and not isinstance(share, bool) and math.isfinite(share) and share >= 0
    }
    return (str(given.get("evaluator", "an unknown evaluator")), shares) if shares else None


def _parameter(name: str) -> str:
    stage = name.rpartition("kernel_size_")
    if stage[1]:
        return plain(f"{_owner(stage[0])}k of stage {stage[2]}")
    head, _, option = name.rpartition(".")
    shown = {"gamma": "γ", "kernel_size": "k"}.get(option, option)
    return plain(shown if head in ("", "recipe") else f"{_title(head)}: {shown}")


def _owner(prefix: str) -> str:
    return f"{_title(prefix.removesuffix('.'))}: " if prefix else ""


def _title(head: str) -> str:
    return plain({"none": "vanilla"}.get(head, head.upper().replace("_", "-").replace("VAR", "Var")), 20)
