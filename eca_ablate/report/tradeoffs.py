"""What accuracy costs: test accuracy against the weights of the heads, and against the measured speed of training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import special

from eca_ablate.report.limits import limits
from eca_ablate.report.paired import LEAST
from eca_ablate.report.style import GREY, legend_below, look_of, plain
from eca_ablate.report.summary import summarise

_FILLS = ("full", "none", "left", "right", "bottom", "top")  # tell labels of one head apart, which share a colour
_HARDWARE = ("device", "precision", "threads")
_APART = 0.03  # of the axis, between points with equally many weights
_LONGEST = 24


class Spot(NamedTuple):
    """What a figure shows of one network.

    Args:
        label: of its row, and of further rows that are the same network.
        head: gives the colour.
        fill: of the marker: tells it from other labels of that head.
        number: among the labels of that head, where there are more of them than fills; else empty.
        n: runs that are done.
        accuracy: mean test top-1 in percent.
        reach: half of the mean's 95 % interval, from the t-distribution; NaN below `LEAST` runs.
        head_weights: in all heads together.
        others: weights of the rest of the network.
        speed: mean images per second of training; NaN where unknown.
        speed_reach: half of its 95 % interval.
    """

    label: str
    head: str
    fill: str
    number: str
    n: int
    accuracy: float
    reach: float
    head_weights: int | None
    others: int | None
    speed: float
    speed_reach: float


def spots(rows: pd.DataFrame) -> list[Spot]:
    """Return every distinct network that has a finished run, in the order of the rows.

    Args:
        rows: what `load` returned.
    """
    summary = summarise(rows)
    speeds = rows[rows["status"] == "done"].groupby("label")["images_per_second"]
    means, spreads = speeds.mean(), speeds.std(ddof=1)
    shown = summary[(summary["same_as"] == "") & summary["test_top1_mean"].notna()]
    many = {str(head) for head, count in shown["head"].value_counts().items() if count > len(_FILLS)}
    found: list[Spot] = []
    for line in shown.to_dict("records"):
        label, head = str(line["label"]), str(line["head"])
        before = sum(one.head == head for one in found)
        alike = [str(one) for one in summary.loc[summary["same_as"] == label, "label"]]
        known = not pd.isna(line["head_weights"]) and not pd.isna(line["weights"])
        found.append(
            Spot(
                label=" = ".join([label, *alike]),
                head=head,
                fill=_FILLS[before % len(_FILLS)],
                number=str(before + 1) if head in many else "",
                n=int(line["n"]),
                accuracy=float(line["test_top1_mean"]),
                reach=_reach(float(line["test_top1_std"]), int(line["n"])),
                head_weights=int(line["head_weights"]) if known else None,
                others=int(line["weights"]) - int(line["head_weights"]) if known else None,
                speed=float(means.get(label, math.nan)),
                speed_reach=_reach(float(spreads.get(label, math.nan)), int(line["n"])),
            )
        )
    return found


def _reach(std: float, n: int) -> float:
    return float(special.stdtrit(n - 1, 0.975)) * std / math.sqrt(n) if n >= LEAST else math.nan


def one_machine(rows: pd.DataFrame) -> bool:
    """Return whether all runs were on one kind of hardware, so that their speeds compare."""
    return len(rows.loc[rows["status"] == "done", list(_HARDWARE)].drop_duplicates()) == 1


def seeds_said(found: Sequence[Spot]) -> str:
    """Return over how many seeds means are: `n = 3`, or `n = 1 to 3`."""
    counts = sorted({one.n for one in found})
    return f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"


def height(found: Sequence[Spot]) -> float:
    """Return the height in inches of a figure with these networks in its legend."""
    return 2.5 + 0.15 * math.ceil(len(found) / _columns(found))


def draw_accuracy_weights(figure: Figure, found: Sequence[Spot]) -> None:
    """Draw accuracy over head weights: a logarithmic axis, with a place of its own for heads without weights."""
    axes = figure.add_subplot()
    shown = [one for one in found if one.head_weights is not None]
    exponents = [math.log10(one.head_weights) for one in shown if one.head_weights]
    first = math.floor(min(exponents, default=0))
    last = max(first + 1, math.ceil(max(exponents, default=0)))
    nothing = first - 0.7 if any(not one.head_weights for one in shown) else None
    where = [math.log10(one.head_weights) if one.head_weights else first - 0.7 for one in shown]
    left = (nothing if nothing is not None else first) - 0.35
    places = side_by_side(where, _APART * (last + 0.25 - left))
    decades = range(first, last + 1) if exponents else ()
    ticks = {float(exponent): _power(exponent) for exponent in decades}
    if nothing is not None:
        ticks[nothing] = "0"
        if exponents:
            axes.axvline((nothing + first) / 2, color=GREY, linewidth=0.5, linestyle=(0, (2, 2)))
    axes.set_xlim(left, last + 0.25 if exponents else -left)
    axes.set_xticks(list(ticks), list(ticks.values()))
    minor = [exponent + math.log10(digit) for exponent in decades[:-1] for digit in range(2, 10)]
    axes.set_xticks(minor, minor=True)
    rest = {one.others for one in shown}
    beside = f", beside {rest.pop():,} others" if len(rest) == 1 else ""
    axes.set_xlabel(f"weights in all heads{beside}")
    _draw(axes, shown, places, None)


def draw_accuracy_speed(figure: Figure, found: Sequence[Spot]) -> None:
    """Draw accuracy over the images per second that training took in, the better the further to the upper right."""
    axes = figure.add_subplot()
    shown = [one for one in found if math.isfinite(one.speed)]
    axes.set_xlabel("images per second in training")
    _draw(axes, shown, [one.speed for one in shown], [one.speed_reach for one in shown])


def side_by_side(places: Sequence[float], apart: float) -> list[float]:
    """Return places of which equal ones stand that far apart, around where they were; the others are not moved."""
    moved = []
    for at, place in enumerate(places):
        rank, every = places[:at].count(place), places.count(place)
        moved.append(place + apart * (rank - (every - 1) / 2))
    return moved


def _draw(axes: Axes, shown: Sequence[Spot], places: Sequence[float], widths: Sequence[float] | None) -> None:
    axes.grid(True, axis="y" if widths is None else "both")
    bars = any(_or_zero([one.reach])[0] > 0 for one in shown)
    axes.set_ylabel(f"test top-1 (%)\n{'mean, 95 % interval, ' if bars else ''}{seeds_said(shown)}")
    span = limits([one.accuracy for one in shown])
    if span is None:
        return
    handles: list[Any] = []
    for at, one in enumerate(shown):
        drawn = span.clip(one.accuracy)
        style = _look(one)
        handles.append(Line2D([], [], linestyle="", label=_name(one), **style))
        if drawn != one.accuracy:
            continue
        axes.errorbar(
            [places[at]],
            [drawn],
            yerr=_or_zero([one.reach]),
            xerr=None if widths is None else _or_zero([widths[at]]),
            ecolor=look_of(one.head).colour,
            elinewidth=0.7,
            zorder=3,
            **style,
        )
        if one.number:
            axes.annotate(one.number, (places[at], drawn), (2.5, 2.5), textcoords="offset points", fontsize=5, zorder=4)
    if span.extend == "min":  # below the axis, and marked so
        low = [place for place, one in zip(places, shown, strict=True) if span.clip(one.accuracy) != one.accuracy]
        colours = [look_of(one.head).colour for one in shown if span.clip(one.accuracy) != one.accuracy]
        transform = axes.get_xaxis_transform()
        axes.scatter(low, [0.03] * len(low), c=colours, marker="v", s=14, transform=transform, zorder=4)
        handles.append(Line2D([], [], linestyle="", marker="v", color=GREY, markersize=3.5, label="far below"))
    legend_below(axes, _columns(shown), handles)


def _look(one: Spot) -> dict[str, Any]:
    look = look_of(one.head)
    return {
        "marker": look.marker,
        "markersize": 4.8,
        "fillstyle": one.fill,
        "markerfacecolor": "white" if one.fill == "none" else look.colour,
        "markerfacecoloralt": "white",
        "markeredgecolor": look.colour,
        "markeredgewidth": 0.8,
    }


def _name(one: Spot) -> str:
    return plain(f"({one.number}) {one.label}" if one.number else one.label, _LONGEST)


def _or_zero(values: Iterable[float]) -> list[float]:
    return [value if math.isfinite(value) else 0.0 for value in values]


def _columns(found: Sequence[Spot]) -> int:
    longest = max((len(_name(one)) for one in found), default=0)
    return 3 if longest <= 15 else 2


def _power(exponent: int) -> str:
    """Return a power of ten as it is read aloud: 1, 10, 100, 1 k ..."""
    prefixes = ("", " k", " M", " G", " T")
    thousands = min(max(exponent, 0) // 3, len(prefixes) - 1)
    return f"{10 ** (exponent - 3 * thousands):,}{prefixes[thousands]}"
