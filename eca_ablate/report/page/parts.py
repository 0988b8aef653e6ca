"""What the page is made of: tables whose cells know how to be sorted, figures as data, resolved configurations."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from eca_ablate.report.pictures import Picture

_MISSING = "–"
_UNITS = {"k": 1e3, "M": 1e6, "G": 1e9}
_NUMBER = re.compile(r"<?([+−-]?[\d,]*\.?\d+)(?: ([kMG]))?(?: (?:±|to) .*)?")
_WIDE = 5.0  # inches: figures from here on get the whole width
_SIZE = re.compile(rb'<svg[^>]*? width="([\d.]+)pt" height="([\d.]+)pt"')


class Cell(NamedTuple):
    """A cell's text, its number where the column has numbers, and how it is set."""

    text: str
    value: float | None
    classes: str


class Column(NamedTuple):
    """A column's name, whether it is sorted as `number` or `text`, and whether it is aligned left."""

    name: str
    kind: str
    left: bool


class Table(NamedTuple):
    """A table that can be sorted; the column number `head` names its rows."""

    caption: str
    columns: list[Column]
    lines: list[list[Cell]]
    head: int


class Shown(NamedTuple):
    """A figure inside the page: its source is the SVG file itself, its size is in CSS pixels."""

    title: str
    caption: str
    source: str
    width: int
    height: int
    wide: bool


class Configuration(NamedTuple):
    """What a network was trained with, as JSON, and what its runs are called."""

    title: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading; what is empty is not shown."""

    anchor: str
    title: str
    table: Table | None = None
    pictures: Sequence[Shown] = ()
    notes: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    configurations: Sequence[Configuration] = field(default=())


def make_table(
    caption: str, header: Sequence[str], lines: Sequence[Sequence[str]], left: Collection[str], head: str
) -> Table:
    """Return a table of plain texts; a column is one of numbers if all of its cells that are not missing are.

    Args:
        caption: one sentence.
        header: names of the columns.
        lines: the cells under them.
        left: names of the columns that are aligned left.
        head: the column that names a row.
    """
    texts = [[line[at] for line in lines] for at in range(len(header))]
    columns = [Column(name, _kind(column), name in left) for name, column in zip(header, texts, strict=True)]
    cells = [
        [
            Cell(text, number(text) if column.kind == "number" else None, _classes(text, column))
            for text, column in zip(line, columns, strict=True)
        ]
        for line in lines
    ]
    return Table(caption, columns, cells, list(header).index(head))


def number(text: str) -> float | None:
    """Return what a cell is sorted by: `1,084,586`, `10.2 M`, `97.49 ± 0.74`, `−1.5 to +2.0`; None for other texts."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    return float(found[1].replace(",", "").replace("−", "-")) * _UNITS.get(found[2], 1.0)


def show(folder: Path, picture: Picture) -> Shown:
    """Return a figure with its SVG file as a `data:` address: there it can neither load nor run anything."""
    content = (folder / f"{picture.name}.svg").read_bytes()
    found = _SIZE.search(content)
    width, height = (float(size) for size in found.groups()) if found else (252.0, 180.0)
    return Shown(
        title=picture.title,
        caption=picture.caption,
        source=f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}",
        width=round(width * 4 / 3),
        height=round(height * 4 / 3),
        wide=width >= 72 * _WIDE,
    )


def configurations(rows: pd.DataFrame, shared: Mapping[str, Any]) -> list[Configuration]:
    """Return the resolved configuration of every distinct network, in the order of the rows.

    Args:
        rows: as `load` returns them.
        shared: what all runs of the folder share; without it, what the rows say takes its place.
    """
    found = []
    for _, runs in rows.groupby("network", sort=False):
        first = runs.iloc[0]
        facts = dict(shared) or {name: _plain(first[name]) for name in _COLUMNS if not _absent(first[name])}
        facts |= {name: json.loads(first[name]) for name in ("recipe", "blocks") if first[name]}
        facts["runs"] = {str(seed): str(key) for seed, key in zip(runs["seed"], runs["key"], strict=True)}
        labels = " = ".join(dict.fromkeys(map(str, runs["label"])))
        count = len(facts["runs"])
        found.append(Configuration(f"{labels}: {count} run{'s' if count != 1 else ''}", _json(facts)))
    return found


_COLUMNS = (
    "data",
    "data_n_train",
    "data_n_validation",
    "data_n_test",
    "image_size",
    "fingerprint",
    "backbone",
    "stem",
    "width",
    "threads",
    "semantics",
)


def _kind(texts: Sequence[str]) -> str:
    there = [text for text in texts if text != _MISSING]
    return "number" if there and all(number(text) is not None for text in there) else "text"


def _classes(text: str, column: Column) -> str:
    return " ".join(["left"] * column.left + ["told"] * (text in ("better", "worse")))


def _absent(value: Any) -> bool:
    return bool(pd.isna(value)) or value == ""


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _json(facts: Mapping[str, Any]) -> str:
    """Return JSON with one key of the top level a line."""
    lines = [f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in facts.items()]
    return "{\n" + ",\n".join(lines) + "\n}"
