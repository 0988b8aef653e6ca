"""`points.csv` and `search.json`: what a search proposed, what each point resolved to and what came of it."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from eca_ablate.errors import UserError, one_of
from eca_ablate.files import write_atomically
from eca_ablate.report.cells import to_text
from eca_ablate.report.columns import Column
from eca_ablate.report.lines import cells_of, opened
from eca_ablate.report.rows import RowsWarning

POINTS_FILE = "points.csv"
FACTS_FILE = "search.json"

# In the order in which they are written.
POINT_COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "point": Column("", "number of the point, from 0", "integer"),
        "state": Column("", "`complete`, `pruned`, `diverged` or `waiting`", "text"),
        "value": Column("as the metric", "mean over the network's runs; empty unless complete", "number"),
        "network": Column("", "hash of what the point resolves to: points that share it are one network", "text"),
        "kernel_sizes": Column("", "k of each stage, as in `3-5-5-7`; empty for heads without k", "text"),
        "label": Column("", "what the network is called", "text"),
        "below_one": Column("", "`True` where the rule gives |t| < 1 in some stage, and so k = 1", "text"),
        "shared_with": Column("", "number of the first point with the same network; empty for the first", "integer"),
        "params": Column("", "what the sampler proposed", "json"),
        "finished_at": Column("", "date and time in UTC", "text"),
    }
)
POINTS_REQUIRED = ("point", "state", "network", "params")
STATES = ("complete", "pruned", "diverged", "waiting")


@dataclass(frozen=True)
class SearchPoint:
    """One line of `points.csv`; the fields are its columns."""

    point: int
    state: str
    network: str
    params: dict[str, Any]
    value: float | None = None
    kernel_sizes: str = ""
    label: str = ""
    below_one: bool = False
    shared_with: int | None = None
    finished_at: str = ""

    def head(self, default: str) -> str:
        """Return the head it chose, or else the only one there is."""
        return str(self.params.get("head", default))

    def options(self) -> dict[str, Any]:
        """Return what was proposed for the head, without the head's name before each option."""
        start = f"{self.params.get('head', '')}."
        return {name.removeprefix(start): value for name, value in self.params.items() if name != "head"}


@dataclass(frozen=True)
class SearchFacts:
    """What `search.json` says of the search; whatever is missing there has its default."""

    head: str = ""
    space: Mapping[str, Any] = field(default_factory=dict)
    sampler: str = ""
    pruner: str = "none"
    trials: int | None = None
    metric: str = "val_top1"
    direction: str = "maximize"
    seeds: Sequence[int] = ()
    fresh_seeds: Sequence[int] = ()
    channels: Sequence[int] = ()
    rounding: str = "code"

    @property
    def percent(self) -> bool:
        """Return whether the metric is an accuracy in percent."""
        return self.metric in ("val_top1", "val_top5")

    @property
    def axis(self) -> str:
        """Return the metric as an axis names it, with its unit."""
        names = {
            "val_top1": "validation top-1 (%)",
            "val_top5": "validation top-5 (%)",
            "val_loss": "validation loss (nats)",
        }
        return names.get(self.metric, self.metric)

    def shown(self, value: float) -> str:
        """Return a value of the metric as a table shows it."""
        return f"{value:.2f}" if self.percent else f"{value:.4f}"


def write_points(folder: str | Path, points: Sequence[Mapping[str, Any]]) -> None:
    """Write `points.csv` in one step: the same points give the same bytes, in whatever order they come.

    Args:
        folder: of the results; made if need be.
        points: one mapping a point, by the names of `POINT_COLUMNS`. `params` is the mapping or its JSON; `None` and
            NaN become empty cells.

    Raises:
        UserError: for an unknown column, a value that could not be read back, or a number given twice.
    """
    lines: dict[int, list[str]] = {}
    for index, point in enumerate(points):
        for name in point:
            if name not in POINT_COLUMNS:
                raise UserError(f"points[{index}]: {one_of('column', name, POINT_COLUMNS)}")
        texts = {name: to_text(point.get(name)) for name in POINT_COLUMNS}
        try:
            number = _read(texts).point
        except ValueError as error:
            raise UserError(f"points[{index}]: {error}") from None
        if number in lines:
            raise UserError(f"points[{index}]: each point stands once, but {number} comes twice")
        lines[number] = list(texts.values())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(POINT_COLUMNS)
    writer.writerows(lines[number] for number in sorted(lines))
    write_atomically(Path(folder) / POINTS_FILE, text.getvalue())


def load_points(folder: str | Path) -> list[SearchPoint]:
    """Return the points of `points.csv` by their numbers.

    Warns:
        RowsWarning: for each line that cannot be used; it is left out.

    Raises:
        UserError: if the file is absent, unreadable or empty, or lacks one of `POINTS_REQUIRED`.
    """
    path = Path(folder) / POINTS_FILE
    header, found = opened(path, POINTS_REQUIRED)
    points: dict[int, SearchPoint] = {}
    for line, record in found:
        try:
            point = _read(cells_of(header, record))
            if point.point in points:
                raise ValueError(f"point {point.point} stands there already")
        except ValueError as error:
            warnings.warn(f"{path}, line {line}: {error}; the point is left out", RowsWarning, stacklevel=2)
            continue
        points[point.point] = point
    return [points[number] for number in sorted(points)]


def load_facts(folder: str | Path) -> SearchFacts:
    """Return what `search.json` says.

    A value of another type than expected counts as missing: a choice of heads, for example, is no single `head`.

    Warns:
        RowsWarning: if it is absent or no JSON object.
    """
    given = load_json(Path(folder) / FACTS_FILE, "defaults take its place")
    facts: dict[str, Any] = {}
    numbers = ("seeds", "fresh_seeds", "channels")
    for item in fields(SearchFacts):
        value = given.get(item.name)
        if item.name in numbers:
            fits = isinstance(value, list) and all(
                type(one) is int and one >= (item.name == "channels") for one in value
            )
        elif item.name == "space":
            fits = isinstance(value, dict)
        elif item.name == "trials":
            fits = type(value) is int
        else:
            fits = isinstance(value, str)
        if fits:
            facts[item.name] = tuple(value) if isinstance(value, list) else value
    return SearchFacts(**facts)


def load_json(path: Path, otherwise: str) -> dict[str, Any]:
    """Return the JSON object in a file; empty, with a RowsWarning that says what happens, if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        reason = "it is no JSON object"
    except OSError as error:
        reason = error.strerror or "it cannot be read"
    except (ValueError, RecursionError):
        reason = "it is no JSON"
    warnings.warn(f"{path}: {reason}; {otherwise}", RowsWarning, stacklevel=3)
    return {}


def _read(texts: Mapping[str, str]) -> SearchPoint:
    state = texts["state"]
    if state not in STATES:
        raise ValueError(f"`state` must be one of {', '.join(STATES)}, but got {_short(state)}")
    if not texts["network"]:
        raise ValueError("`network` must not be empty")
    value = _number(texts.get("value", ""))
    if state == "complete" and value is None:
        raise ValueError("a point that is `complete` needs a number for `value`, but it is empty")
    if state != "complete" and value is not None:
        raise ValueError(f"only a point that is `complete` has a `value`, but it is `{state}`")
    below_one = texts.get("below_one", "").lower()
    if below_one not in ("", "true", "false"):
        raise ValueError(f"`below_one` must be True or False, but got {_short(below_one)}")
    shared = texts.get("shared_with", "")
    return SearchPoint(
        point=_whole("point", texts["point"]),
        state=state,
        network=texts["network"],
        params=_params(texts["params"]),
        value=value,
        kernel_sizes=texts.get("kernel_sizes", ""),
        label=texts.get("label", ""),
        below_one=below_one == "true",
        shared_with=_whole("shared_with", shared) if shared else None,
        finished_at=texts.get("finished_at", ""),
    )


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise ValueError(f"`{name}` must be a whole number, but got {_short(text)}")
    return int(text)


def _number(text: str) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        raise ValueError(f"`value` must be a number, but got {_short(text)}") from None
    return None if value is not None and math.isnan(value) else value


def _params(text: str) -> dict[str, Any]:
    try:
        params = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"`params` must be JSON, but got {_short(text)}") from None
    if not isinstance(params, dict):
        raise ValueError(f"`params` must be a JSON object, but got {_short(text)}")
    return params


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
