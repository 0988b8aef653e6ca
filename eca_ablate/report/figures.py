"""The figures of a search. Each is drawn only where its points exist, and reads nothing but results."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eca_ablate.report.gamma_b import draw_map, draw_pairs
from eca_ablate.report.limits import limits
from eca_ablate.report.networks import Network
from eca_ablate.report.pair_map import pair_map, pair_of
from eca_ablate.report.pictures import FOLDER, Picture
from eca_ablate.report.points import SearchFacts, SearchPoint, load_json
from eca_ablate.report.style import COLUMN, GREY, MARKS, PAGE, Drawing, legend_below, look_of, plain

IMPORTANCE_FILE = "importance.json"
# Title and caption of each.
_WORDS: Mapping[str, tuple[str, str]] = {
    "kernel_size": (
        "Kernel size",
        "The metric of the search over fixed k, the form of the paper's Figure 4: mean and standard deviation over the "
        "seeds. Lines are choices of k by rule or by name.",
    ),
    "gamma_b": (
        "γ and b",
        "Each pair of γ and b, coloured by the mean of the network it resolves to, with k of each stage. Pairs that no "
        "line parts are one network, trained once a seed.",
    ),
    "history": (
        "Course of the search",
        "The value of each point in the order of their numbers, and the best so far. Points of a network that was met "
        "before share its value.",
    ),
    "importance": ("Importance", "Which parameters explain the spread of the metric over the points."),
}
_DASHES = ("--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))


def write_figures(
    folder: Path, points: Sequence[SearchPoint], networks: Sequence[Network], facts: SearchFacts
) -> list[Picture]:
    """Write the figures that these points allow into `figures/`, each as SVG and PNG. Returns what was written."""
    drawings = search_drawings(points, networks, facts)
    found = _importance(folder)
    if found is not None:
        evaluator, shares = found
        height = 0.8 + 0.2 * min(len(shares), 20)
        drawings["importance"] = Drawing(partial(draw_importance, shares=shares, evaluator=evaluator), COLUMN, height)
    for name, drawing in drawings.items():
        drawing.save(folder / FOLDER / name)
    return [Picture(name, *_WORDS[name]) for name in drawings]


def search_drawings(
    points: Sequence[SearchPoint], networks: Sequence[Network], facts: SearchFacts
) -> dict[str, Drawing]:
    """Return the figures that points allow, by their names."""
    known = {one.network: one for one in networks}
    drawings: dict[str, Drawing] = {}
    sizes = plain_sizes(points, known, facts)
    if any(one.mean is not None and isinstance(k, int) for (_, k), one in sizes.items()):
        drawings["kernel_size"] = Drawing(partial(draw_kernel_size, sizes=sizes, facts=facts), COLUMN, 2.6)
    grid = pair_map(points, facts)
    pairs = [point for point in points if pair_of(point) is not None]
    if grid is not None:
        height = 1.2 + min(6.0, max(1.5, 0.19 * len(grid.bs)))
        drawings["gamma_b"] = Drawing(partial(draw_map, grid=grid, networks=known, facts=facts), PAGE, height)
    elif pairs:
        drawings["gamma_b"] = Drawing(partial(draw_pairs, points=pairs, networks=known, facts=facts), COLUMN, 3.0)
    if any(point.state != "waiting" for point in points):
        drawings["history"] = Drawing(partial(draw_history, points=points, facts=facts), COLUMN, 2.6)
    return drawings


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
    spread = any(one.std is not None for one in sizes.values())
    handles: list[Any] = []
    lines: list[Any] = []
    for place, head in enumerate(heads):
        shift = (place - (len(heads) - 1) / 2) * 0.12 * space
        name = f"{_title(head)}, " if len(heads) > 1 else ""
        fixed = {k: one for (whose, k), one in sizes.items() if whose == head and isinstance(k, int)}
        handles += _draw_fixed(
            axes,
            head,
            {k + shift: fixed[k] for k in sorted(fixed)},
            0.1 * space,
            f"{name}fixed k{', mean ± std' if spread else ''}",
        )
        named = [(k, one) for (whose, k), one in sizes.items() if whose == head and isinstance(k, str)]
        for dash, (k, one) in zip(_DASHES * len(named), named, strict=False):
            if one.shown is None:
                continue
            colour = "black" if len(heads) == 1 else look_of(head).colour
            if one.std is not None:
                axes.axhspan(one.shown - one.std, one.shown + one.std, color=colour, alpha=0.1, linewidth=0)
            stages = f" ({plain(one.kernel_sizes, 12)})" if one.kernel_sizes else ""
            label = f"{name}{plain(k, 20)}{stages}"
            lines.append(axes.axhline(one.shown, color=colour, linestyle=dash, linewidth=1, label=label))
    axes.set(xlabel="kernel size k", ylabel=facts.axis)
    if len(every) <= 12:
        axes.set_xticks(every)
    axes.set_xlim(every[0] - 0.4 * space, every[-1] + 0.4 * space)
    if spread:
        handles += axes.plot([], [], linestyle="", marker=".", color=GREY, label="one seed", markeredgewidth=0)
    legend_below(axes, 2, handles + lines)


def draw_history(figure: Figure, points: Sequence[SearchPoint], facts: SearchFacts) -> None:
    """Draw the value of each point in the order of their numbers, and the best so far.

    Points without a value, and those far worse than the rest, stand in a strip below the axis.
    """
    axes = figure.add_subplot()
    axes.grid(True, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.set(xlabel="point", ylabel=facts.axis)
    values = {point.point: point.value for point in points if point.value is not None and math.isfinite(point.value)}
    span = limits(list({p.network: values[p.point] for p in points if p.point in values}.values()), facts.direction)
    strip = {state: [p.point for p in points if p.state == state] for state in ("waiting", "pruned", "diverged")}
    if span is None:
        axes.set(ylim=(0, 1), yticks=[])
    else:
        strip["worse than shown"] = [number for number, value in values.items() if span.clip(value) != value]
        margin = 0.06 * (span.high - span.low)
        axes.set_ylim(span.low - margin * (3.2 if any(strip.values()) else 1), span.high + margin)
        if any(strip.values()):
            axes.axhline(span.low - 1.2 * margin, color="#333333", linewidth=0.4, linestyle=(0, (2, 2)))
            ticks = [tick for tick in axes.get_yticks() if span.low - margin <= tick <= span.high + margin]
            axes.set_yticks(ticks)
        shown = [point for point in points if point.point in values and span.clip(point.value or 0.0) == point.value]
        _draw_best(axes, {number: span.clip(value) for number, value in values.items()}, facts)
        _draw_values(axes, shown, facts)
    for state, where in strip.items():
        if where:
            axes.plot(
                where,
                [0.05] * len(where),
                linestyle="",
                marker=MARKS.get(state, 7),
                color="black",
                markersize=4,
                markeredgewidth=0.8,
                transform=axes.get_xaxis_transform(),
                label=state,
            )
    legend_below(axes, 2 if len(axes.get_legend_handles_labels()[0]) <= 4 else 3)


def _draw_best(axes: Axes, values: Mapping[int, float], facts: SearchFacts) -> None:
    best = max if facts.direction == "maximize" else min
    running = list(itertools.accumulate(values.values(), best))
    axes.step(list(values), running, where="post", color=GREY, linewidth=0.9, zorder=1, label="best so far")


def _draw_values(axes: Axes, shown: Sequence[SearchPoint], facts: SearchFacts) -> None:
    heads = list(dict.fromkeys(point.head(facts.head) for point in shown))
    for head, shared in itertools.product(heads, (False, True)):
        look = look_of(head)
        mine = [p for p in shown if p.head(facts.head) == head and (p.shared_with is not None) == shared]
        if not mine:
            continue
        if len(heads) > 1:
            name = f"{_title(head)}, shared" if shared else _title(head)
        else:
            name = "same network as before" if shared else "new network"
        axes.plot(
            [point.point for point in mine],
            [point.value or 0.0 for point in mine],
            linestyle="",
            marker=look.marker,
            markersize=3.4 if len(shown) <= 80 else 2.2,
            markerfacecolor="white" if shared else look.colour,
            markeredgecolor=look.colour,
            markeredgewidth=0.6,
            label=name,
            zorder=2 if shared else 3,
        )


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
    evaluator = plain(evaluator, 48)
    if len(evaluator) <= 26:
        axes.set_xlabel(f"importance ({evaluator})")
    else:
        axes.set_xlabel("importance")
        figure.supxlabel(f"({evaluator})", fontsize=7)


def _draw_fixed(axes: Axes, head: str, fixed: Mapping[float, Network], reach: float, label: str) -> list[Any]:
    look = look_of(head)
    drawn = {x: one for x, one in fixed.items() if one.shown is not None}
    for x, one in drawn.items():
        count = max(1, one.n - 1)
        spots = [x + reach * (2 * at / count - 1) if one.n > 1 else x for at in range(one.n)]
        if one.std is not None:
            axes.plot(spots, one.values, linestyle="", marker=".", color=look.colour, alpha=0.35, markeredgewidth=0)
    if not drawn:
        return []
    return [
        axes.errorbar(
            list(drawn),
            [one.shown or 0.0 for one in drawn.values()],
            yerr=[one.std or 0.0 for one in drawn.values()] if any(one.std for one in drawn.values()) else None,
            color=look.colour,
            marker=look.marker,
            capsize=2.5,
            elinewidth=0.9,
            zorder=3,
            label=label,
        )
    ]


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
        return plain(f"{_owner(stage[0])}k of stage {stage[2]}", 24)
    head, _, option = name.rpartition(".")
    shown = {"gamma": "γ", "kernel_size": "k"}.get(option, option)
    return plain(shown if head in ("", "recipe") else f"{_title(head)}: {shown}", 24)


def _owner(prefix: str) -> str:
    return f"{_title(prefix.removesuffix('.'))}: " if prefix else ""


def _title(head: str) -> str:
    return plain({"none": "vanilla"}.get(head, head.upper().replace("_", "-").replace("VAR", "Var")), 20)
