"""The (γ, b) map of a search: which pairs are the same network, and what it reaches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath

from eca_ablate.report.limits import Limits, limits
from eca_ablate.report.networks import Network
from eca_ablate.report.pair_map import Cell, PairMap, borders, label_spot, pair_of, regions
from eca_ablate.report.points import SearchFacts, SearchPoint
from eca_ablate.report.style import FAINT, MARKS, legend_below, plain, scale

PAPER = (2.0, 1.0)
_SMALL = 6.0  # points, of the kernel sizes in the map
_HATCH = "//////"
_STATES = ("waiting", "pruned", "diverged")


def draw_map(figure: Figure, grid: PairMap, networks: Mapping[str, Network], facts: SearchFacts) -> None:
    """Draw one cell a pair, coloured by the mean of its network, with borders between different networks."""
    axes = figure.add_subplot()
    axes.set(xlim=(-0.5, len(grid.gammas) - 0.5), ylim=(-0.5, len(grid.bs) - 0.5), xlabel="γ", ylabel="b")
    axes.spines[["top", "right"]].set_visible(True)
    _ticks(axes, grid)
    span, norm = _norm([networks[point.network] for point in grid.points.values()], facts)
    colours = scale(facts.direction)
    for (i, j), length, network in _rows(grid):
        value = networks[network].shown
        face = FAINT if value is None else colours(norm(value))
        axes.add_patch(Rectangle((i - 0.5, j - 0.5), length, 1, facecolor=face, edgecolor=face, linewidth=0.3))
    inner = [[(x - 0.5, -0.5), (x - 0.5, len(grid.bs) - 0.5)] for x in range(1, len(grid.gammas))]
    inner += [[(-0.5, y - 0.5), (len(grid.gammas) - 0.5, y - 0.5)] for y in range(1, len(grid.bs))]
    axes.add_collection(LineCollection(inner, colors="#ffffff59", linewidths=0.3, zorder=1.5))
    _hatch(axes, grid.below_one())
    axes.add_collection(LineCollection(borders(grid), colors="black", linewidths=0.8, capstyle="projecting", zorder=3))
    handles: list[Patch | Line2D] = [Line2D([], [], color="black", linewidth=0.8, label="border between networks")]
    if grid.below_one():
        handles.append(
            Patch(facecolor="white", edgecolor="black", hatch=_HATCH, linewidth=0.4, label="|t| < 1 in a stage: k = 1")
        )
    star = grid.cell_of(*PAPER)
    if star is not None:
        axes.plot(*star, linestyle="", zorder=5, **_STAR)
        handles.append(Line2D([], [], linestyle="", label="paper: γ = 2, b = 1", **_STAR))
    if len(grid.points) < len(grid.gammas) * len(grid.bs):
        handles.append(Patch(facecolor="white", edgecolor="black", linewidth=0.4, label="not proposed"))
    lost = {
        state: [cell for cell, point in grid.points.items() if networks[point.network].state == state]
        for state in _STATES
    }
    handles += [_mark(state) for state in _STATES if lost[state]]
    _colour_bar(figure, axes, span, norm, facts)
    legend_below(axes, len(handles) if len(handles) < 4 else 3, handles)
    written = _write_sizes(figure, axes, grid, networks, set() if star is None else {star})
    _mark_states(axes, {state: [cell for cell in cells if cell not in written] for state, cells in lost.items()})


def draw_pairs(
    figure: Figure, points: Sequence[SearchPoint], networks: Mapping[str, Network], facts: SearchFacts
) -> None:
    """Draw pairs that make no grid as dots, coloured by the mean of their network."""
    axes = figure.add_subplot()
    axes.set(xlabel="γ", ylabel="b")
    axes.grid(True)
    places = {point.point: pair for point in points if (pair := pair_of(point)) is not None}
    span, norm = _norm([networks[point.network] for point in points], facts)
    colours = scale(facts.direction)
    for point in points:
        value = networks[point.network].shown
        if value is not None:
            gamma, b = places[point.point]
            axes.plot(gamma, b, "o", color=colours(norm(value)), markeredgecolor="black", markeredgewidth=0.5)
    lost = {state: [places[p.point] for p in points if networks[p.network].state == state] for state in _STATES}
    handles = [*_mark_states(axes, lost), *axes.plot(*PAPER, linestyle="", label="paper: γ = 2, b = 1", **_STAR)]
    axes.margins(0.06)
    _colour_bar(figure, axes, span, norm, facts)
    legend_below(axes, len(handles), handles)


_STAR: dict[str, Any] = {
    "marker": "*",
    "markersize": 8.5,
    "markerfacecolor": "white",
    "markeredgecolor": "black",
    "markeredgewidth": 0.7,
}


def _rows(grid: PairMap) -> Iterator[tuple[Cell, int, str]]:
    """Yield the cells row by row, neighbours of one network together: the first, how many, and whose."""
    for j in range(len(grid.bs)):
        whose = [grid.network((i, j)) for i in range(len(grid.gammas))]
        start = 0
        for network, same in itertools.groupby(whose):
            length = len(list(same))
            if network is not None:
                yield (start, j), length, network
            start += length


def _ticks(axes: Axes, grid: PairMap) -> None:
    for values, put in ((grid.gammas, axes.set_xticks), (grid.bs, axes.set_yticks)):
        shown = range(0, len(values), max(1, math.ceil(len(values) / 10)))
        put(list(shown), [f"{values[at]:g}".replace("-", "−") for at in shown])


def _norm(networks: Iterable[Network], facts: SearchFacts) -> tuple[Limits | None, Normalize]:
    once = {one.network: one.shown for one in networks}
    span = limits([value for value in once.values() if value is not None], facts.direction, reach=1.5)
    return span, Normalize(span.low, span.high, clip=True) if span else Normalize(0, 1)


def _hatch(axes: Axes, cells: set[Cell]) -> None:
    if not cells:
        return
    squares = [
        Outline([(i - 0.5, j - 0.5), (i + 0.5, j - 0.5), (i + 0.5, j + 0.5), (i - 0.5, j + 0.5), (0, 0)], closed=True)
        for i, j in sorted(cells)
    ]
    outline = Outline.make_compound_path(*squares)
    axes.add_patch(PathPatch(outline, facecolor="none", edgecolor="#00000066", linewidth=0, hatch=_HATCH, zorder=2))


def _mark(state: str) -> Line2D:
    return Line2D([], [], linestyle="", marker=MARKS[state], color="black", label=state)


def _mark_states(axes: Axes, spots: Mapping[str, Sequence[tuple[float, float]]]) -> list[Line2D]:
    handles: list[Line2D] = []
    for state, where in spots.items():
        if where:
            x, y = zip(*where, strict=True)
            handles += axes.plot(x, y, linestyle="", marker=MARKS[state], color="black", label=state, zorder=4)
    return handles


def _colour_bar(figure: Figure, axes: Axes, span: Limits | None, norm: Normalize, facts: SearchFacts) -> None:
    if span is None:
        return
    mapped = ScalarMappable(norm, scale(facts.direction))
    bar = figure.colorbar(mapped, ax=axes, label=facts.axis, extend=span.extend, pad=0.02, aspect=30)
    bar.outline.set_linewidth(0.6)


def _write_sizes(
    figure: Figure, axes: Axes, grid: PairMap, networks: Mapping[str, Network], taken: set[Cell]
) -> set[Cell]:
    """Write the kernel sizes of each network into its largest part and into the others, where they fit.

    A network without a value has them once, and only where cells are left for its mark.

    Returns:
        The cells without a value that a text lies on.
    """
    figure.draw_without_rendering()  # settles how large a cell is
    box = axes.get_window_extent()
    cell = box.width / figure.dpi * 72 / len(grid.gammas)
    height = box.height / figure.dpi * 72 / len(grid.bs)
    under = {"boxstyle": "round,pad=0.12,rounding_size=0.3", "facecolor": "#ffffffcc", "linewidth": 0}
    written: set[Cell] = set()
    for network, parts in regions(grid).items():
        one = networks[network]
        text = plain(one.kernel_sizes or one.label, 24)
        width = (TextPath((0, 0), text, size=_SMALL).get_extents().width + 3) / cell
        for part in parts if height >= _SMALL + 1 else ():
            spot = label_spot(part, width, taken)
            if spot is None:
                continue
            if one.shown is None:
                hidden = {(i, j) for i, j in part if abs(i - spot[0]) < width / 2 + 0.2 and abs(j - spot[1]) < 0.8}
                if part is not parts[0] or not part - hidden - taken:
                    continue
                written |= hidden
            axes.text(*spot, text, fontsize=_SMALL, ha="center", va="center", zorder=6, bbox=under)
    return written
