"""Learning curves: one small picture a head, so that eleven of them can be told apart."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from eca_ablate.report.style import GREY, PAGE, look_of, plain

COLUMNS = 4
DARK = "#333333"


class Band(NamedTuple):
    """A metric over the epochs of one head, over the seeds that came that far; `[epoch]` each.

    Args:
        epochs: from 1.
        mean: over the seeds.
        low: of the worst seed, or the lowest.
        high: of the highest.
        seeds: how many there are in the first epoch.
    """

    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]
    seeds: int


def band(curves: pd.DataFrame, metric: str) -> Band:
    """Return mean, lowest and highest over the seeds of one head's curves; values that are missing take no part."""
    known = curves.dropna(subset=[metric])
    found = known.groupby("epoch")[metric].agg(["mean", "min", "max", "count"])
    return Band(
        [int(epoch) for epoch in found.index],
        found["mean"].tolist(),
        found["min"].tolist(),
        found["max"].tolist(),
        int(found["count"].iloc[0]) if len(found) else 0,
    )


def curve_size(curves: pd.DataFrame) -> tuple[float, float]:
    """Return width and height in inches of a page that has room for every head."""
    rows = math.ceil(len(_titles(curves)) / COLUMNS)
    return PAGE, 0.75 + 1.3 * rows


def draw_curves(figure: Figure, curves: pd.DataFrame, metric: str, axis: str, logarithmic: bool = False) -> None:
    """Draw a metric over the epochs, one picture a head, the vanilla network in grey behind each other one.

    Args:
        figure: to fill.
        curves: as `load_curves` returns them.
        metric: one of its columns.
        axis: the metric as the axis names it, with its unit.
        logarithmic: the axis of the metric.
    """
    titles = _titles(curves)
    own = curves[~curves["shared"]]
    bands = {label: band(part, metric) for label, part in own.groupby("label", sort=False)}
    heads = dict(zip(own["label"], own["head"], strict=True))
    vanilla = next((label for label, head in heads.items() if head == "none"), None)
    columns = min(COLUMNS, len(titles))
    grid = figure.subplots(math.ceil(len(titles) / columns), columns, sharex=True, sharey=True, squeeze=False)
    low, high = _range(list(bands.values()), logarithmic)
    for place, (axes, (label, title)) in enumerate(zip(grid.flat, titles.items(), strict=False)):
        axes.grid(True, axis="y")
        axes.set_title(title, loc="left", pad=3)
        if vanilla is not None and label != vanilla:
            axes.plot(bands[vanilla].epochs, bands[vanilla].mean, color=GREY, linewidth=0.8, dashes=(3, 1.5))
        _draw_band(axes, bands[label], look_of(heads[label]).colour)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(low, high)
        last = place + columns >= len(titles)  # in its column
        axes.tick_params(labelbottom=last)
        axes.set_xlabel("epoch" if last else "")
    for axes in list(grid.flat)[len(titles) :]:
        axes.remove()
    figure.supylabel(axis, fontsize=8)
    figure.legend(
        handles=_legend(max(one.seeds for one in bands.values()), vanilla), loc="outside lower center", ncols=3
    )


def _draw_band(axes: Axes, one: Band, colour: str) -> None:
    if one.seeds > 1:
        axes.fill_between(one.epochs, one.low, one.high, color=colour, alpha=0.25, linewidth=0)
    single = len(one.epochs) == 1
    axes.plot(one.epochs, one.mean, color=colour, linewidth=1.2, marker="o" if single else "", markersize=3)


def _legend(seeds: int, vanilla: str | None) -> list[Artist]:
    entries: list[Artist] = [Line2D([], [], color=DARK, label="mean over seeds" if seeds > 1 else "one seed")]
    if seeds > 1:
        entries.append(Patch(color=DARK, alpha=0.25, linewidth=0, label="lowest to highest seed"))
    if vanilla is not None:
        entries.append(
            Line2D([], [], color=GREY, linewidth=0.8, dashes=(3, 1.5), label=f"mean of {plain(vanilla, 20)}")
        )
    return entries


def _titles(curves: pd.DataFrame) -> dict[str, str]:
    """Return a title for each run's own label; labels that share a run share its picture."""
    names: dict[str, list[str]] = {}
    owner = dict(zip(curves.loc[~curves["shared"], "key"], curves.loc[~curves["shared"], "label"], strict=True))
    for label, key in zip(curves["label"], curves["key"], strict=True):
        further = names.setdefault(owner[key], [])
        if label != owner[key] and label not in further:
            further.append(label)
    return {own: "\n= ".join(plain(label, 26) for label in [own, *labels][:3]) for own, labels in names.items()}


def _range(bands: list[Band], logarithmic: bool) -> tuple[float | None, float | None]:
    """Return the ends of the axis: of accuracies, the way out of chance in the first third of the epochs is cut off.

    On a logarithmic axis all there is has room.
    """
    highs = [value for one in bands for value in one.high]
    if logarithmic or not highs:
        return None, None
    later = [
        value for one in bands for epoch, value in zip(one.epochs, one.low, strict=True) if epoch > len(one.epochs) / 3
    ]
    low = min(later)
    room = 0.05 * max(max(highs) - low, 0.1)
    return low - room, max(highs) + room
