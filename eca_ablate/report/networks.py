"""From the points of a search and its runs to the distinct networks, ranked on validation."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from eca_ablate.report.points import STATES, SearchFacts, SearchPoint
from eca_ablate.report.rows import RowsWarning


@dataclass(frozen=True)
class Network:
    """A network that a search has looked at, and the points that lead to it.

    Args:
        network: its hash.
        label: what it is called.
        head: the name of its head.
        kernel_sizes: k of each stage; empty for heads without k.
        state: the best that any of its points came to.
        points: all of them, by their numbers.
        seeds: of the runs that are done.
        values: of the metric, one for each of these seeds.
        mean: over the runs that are done; without any, what the points say; else None.
        rank: among the complete ones, from 1; equal means share one. None for the others.
    """

    network: str
    label: str
    head: str
    kernel_sizes: str
    state: str
    points: tuple[SearchPoint, ...]
    seeds: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    mean: float | None = None
    rank: int | None = None

    @property
    def n(self) -> int:
        """Return how many runs the mean is over."""
        return len(self.values)

    @property
    def std(self) -> float | None:
        """Return the sample standard deviation (over n - 1), None for fewer than two runs."""
        if self.n < 2 or not all(map(math.isfinite, self.values)):
            return None
        return statistics.stdev(self.values)

    @property
    def shown(self) -> float | None:
        """Return the mean if the network is complete and the mean can be drawn."""
        if self.state != "complete" or self.mean is None or not math.isfinite(self.mean):
            return None
        return self.mean


def rank_networks(points: Iterable[SearchPoint], runs: pd.DataFrame, facts: SearchFacts) -> list[Network]:
    """Return the distinct networks, the best first, then those that are not complete.

    Only runs that are `done` enter a mean. Whatever was pruned or diverged has no rank, and so is never the best.

    Args:
        points: of the search.
        runs: what `load` gave for `search_runs.csv`.
        facts: what is known of the search.

    Warns:
        RowsWarning: where the runs of a network do not give the value that its points state.
    """
    together: dict[str, list[SearchPoint]] = {}
    for point in points:
        together.setdefault(point.network, []).append(point)
    found = [_network(same, runs, facts) for same in together.values()]
    sign = -1 if facts.direction == "maximize" else 1
    ranked = sorted(
        (one for one in found if one.state == "complete" and one.mean is not None),
        key=lambda one: (sign * (one.mean or 0.0), one.points[0].point),
    )
    means = [one.mean for one in ranked]
    best_first = [replace(one, rank=1 + means.index(one.mean)) for one in ranked]
    others = [one for one in found if one not in ranked]
    return best_first + sorted(others, key=lambda one: (STATES.index(one.state), one.points[0].point))


def best_two(networks: Sequence[Network]) -> tuple[Network, Network] | None:
    """Return the best and the second best, if there are two."""
    ranked = [one for one in networks if one.rank is not None]
    return (ranked[0], ranked[1]) if len(ranked) > 1 else None


def _network(same: list[SearchPoint], runs: pd.DataFrame, facts: SearchFacts) -> Network:
    first = same[0]
    state = min((point.state for point in same), key=STATES.index)
    done: dict[int, float] = {}
    if facts.metric in runs.columns:
        theirs = runs[(runs["network"] == first.network) & (runs["status"] == "done") & ~runs["shared"]]
        pairs = zip(theirs["seed"], theirs[facts.metric], strict=True)
        done = {int(seed): float(value) for seed, value in pairs if not pd.isna(value)}
    stated = next((point.value for point in same if point.value is not None), None)
    values = tuple(done[seed] for seed in sorted(done))
    mean = statistics.mean(values) if values else stated
    if values and stated is not None and not math.isclose(stated, mean or 0.0, rel_tol=1e-6, abs_tol=1e-9):
        warnings.warn(
            f"point {first.point} states {stated:g} for {first.label!r}, but its {len(values)} runs in "
            f"search_runs.csv give {mean:g}; the runs count",
            RowsWarning,
            stacklevel=2,
        )
    return Network(
        network=first.network,
        label=first.label or first.kernel_sizes or first.network,
        head=first.head(facts.head),
        kernel_sizes=first.kernel_sizes,
        state=state,
        points=tuple(same),
        seeds=tuple(sorted(done)),
        values=values,
        mean=mean,
    )
