"""The (γ, b) plane of a search as a grid of cells, and where its networks begin and end. Nothing is drawn here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eca_ablate.report.points import SearchFacts, SearchPoint

Cell = tuple[int, int]  # column (γ) and row (b)
Segment = tuple[tuple[float, float], tuple[float, float]]
_MOST = 10_000  # cells


@dataclass(frozen=True)
class PairMap:
    """Pairs of γ and b on the grid of their values; cell (i, j) covers i ± 1/2 and j ± 1/2.

    Args:
        gammas: of the columns, ascending.
        bs: of the rows, ascending.
        points: the point of each cell that has one.
    """

    gammas: tuple[float, ...]
    bs: tuple[float, ...]
    points: Mapping[Cell, SearchPoint]

    def network(self, cell: Cell) -> str | None:
        """Return the network of a cell, None where no point is."""
        point = self.points.get(cell)
        return None if point is None else point.network

    def cell_of(self, gamma: float, b: float) -> Cell | None:
        """Return the cell of a pair, None if the grid has it not."""
        near = [
            [i for i, one in enumerate(values) if math.isclose(one, value, rel_tol=1e-9, abs_tol=1e-9)]
            for values, value in ((self.gammas, gamma), (self.bs, b))
        ]
        return (near[0][0], near[1][0]) if all(near) else None

    def below_one(self) -> set[Cell]:
        """Return the cells with |t| < 1 in some stage."""
        return {cell for cell, point in self.points.items() if point.below_one}


def pair_of(point: SearchPoint) -> tuple[float, float] | None:
    """Return γ and b of a point that proposes nothing else, besides a head."""
    options = point.options()
    if set(options) != {"gamma", "b"}:
        return None
    gamma, b = _finite(options["gamma"]), _finite(options["b"])
    return None if gamma is None or b is None else (gamma, b)


def pair_map(points: Iterable[SearchPoint], facts: SearchFacts) -> PairMap | None:
    """Return the grid of a search over γ and b, with the values of its space even where no point is yet.

    None if no point is such a pair, or if the pairs lie anywhere (a continuous range) and make no grid.
    """
    pairs = {pair: point for point in points if (pair := pair_of(point)) is not None}
    if not pairs:
        return None
    gammas = _axis("gamma", {gamma for gamma, _ in pairs}, facts)
    bs = _axis("b", {b for _, b in pairs}, facts)
    if gammas is None or bs is None or len(gammas) * len(bs) > _MOST:
        return None
    stated = {"gamma", "b"} <= set(facts.space)
    if not stated and len(gammas) * len(bs) > 4 * len(pairs):
        return None
    grid = PairMap(gammas, bs, {})
    cells = {cell: point for pair, point in pairs.items() if (cell := grid.cell_of(*pair)) is not None}
    return PairMap(gammas, bs, cells)


def borders(grid: PairMap) -> list[Segment]:
    """Return the edges between neighbouring cells of different networks; cells without a point are as if of one."""
    found: list[Segment] = []
    for i in range(len(grid.gammas)):
        for j in range(len(grid.bs)):
            here = grid.network((i, j))
            if i + 1 < len(grid.gammas) and grid.network((i + 1, j)) != here:
                found.append(((i + 0.5, j - 0.5), (i + 0.5, j + 0.5)))
            if j + 1 < len(grid.bs) and grid.network((i, j + 1)) != here:
                found.append(((i - 0.5, j + 0.5), (i + 0.5, j + 0.5)))
    return found


def regions(grid: PairMap) -> dict[str, list[set[Cell]]]:
    """Return the connected parts of each network, the largest first; of equal ones the first from below left."""
    found: dict[str, list[set[Cell]]] = {}
    left = set(grid.points)
    for start in sorted(grid.points):
        if start not in left:
            continue
        network = grid.points[start].network
        part, edge = set[Cell](), [start]
        left.discard(start)
        while edge:
            i, j = edge.pop()
            part.add((i, j))
            for near in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if near in left and grid.points[near].network == network:
                    left.discard(near)
                    edge.append(near)
        found.setdefault(network, []).append(part)
    return {network: sorted(parts, key=len, reverse=True) for network, parts in found.items()}


def label_spot(cells: set[Cell], width: float, taken: Iterable[Cell] = ()) -> tuple[float, float] | None:
    """Return the middle of a place inside a region for a text, None where none is wide enough.

    Of all places, the one with most room around it; of equal ones the one nearest the region's middle.

    Args:
        cells: of the region.
        width: of the text in cells; it is no higher than one.
        taken: cells that something else is drawn in.
    """
    free, need = cells - set(taken), max(1, math.ceil(width))
    middle = (_mean(i for i, _ in cells), _mean(j for _, j in cells))
    best: tuple[tuple[float, float, float], tuple[float, float]] | None = None
    for (i, j), wide, high in itertools.product(sorted(free), (need, need + 1), (1, 2)):
        if not _filled(free, i, j, wide, high):
            continue
        spot = (i + (wide - 1) / 2, j + (high - 1) / 2)
        aside, above = (wide - need) / 2, (high - 1) / 2
        aside += min(_steps(free, i, j, wide, high, -1, 0), _steps(free, i, j, wide, high, 1, 0))
        above += min(_steps(free, i, j, wide, high, 0, -1), _steps(free, i, j, wide, high, 0, 1))
        score = (min(aside, above), aside + above, -math.dist(spot, middle))
        if best is None or score > best[0]:
            best = score, spot
    return best[1] if best else None


def _filled(free: set[Cell], i: int, j: int, wide: int, high: int) -> bool:
    return all((i + x, j + y) in free for x in range(wide) for y in range(high))


def _steps(free: set[Cell], i: int, j: int, wide: int, high: int, x: int, y: int) -> int:
    """Return how many steps, at most three, a block can be moved without leaving the region."""
    return next((n for n in range(3) if not _filled(free, i + (n + 1) * x, j + (n + 1) * y, wide, high)), 3)


def _axis(name: str, seen: set[float], facts: SearchFacts) -> tuple[float, ...] | None:
    """Return the values of one axis: those of the space and those seen; None for a continuous one."""
    written = facts.space.get(name)
    values: Sequence[Any] = ()
    if isinstance(written, list):
        values = [value for one in written if (value := _finite(one)) is not None]
    elif isinstance(written, dict):
        low, high, step = (_finite(written.get(key)) for key in ("low", "high", "step"))
        if low is not None and high is not None and step and 0 <= (high - low) / step <= _MOST:
            values = [round(low + at * step, 10) for at in range(round((high - low) / step) + 1)]
        elif low is not None and step is None:
            return None
    near = {round(value, 9) for value in values}
    return tuple(sorted([*values, *(value for value in seen if round(value, 9) not in near)]))


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _mean(values: Iterable[int]) -> float:
    found = list(values)
    return sum(found) / len(found)
