"""`curves.csv`: one line a run and epoch, beside the rows. A damaged line is left out with a warning."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from eca_ablate.errors import UserError, one_of
from eca_ablate.files import write_atomically
from eca_ablate.report.cells import parse, to_text
from eca_ablate.report.columns import Column
from eca_ablate.report.lines import cells_of, opened
from eca_ablate.report.rows import FILE, SEARCH_FILE, RowsWarning, load

# In the order in which they are written.
CURVE_COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "key": Column("", "of the run, as in the rows", "text"),
        "epoch": Column("epochs", "trained so far, from 1", "integer"),
        "train_loss": Column("nats", "mean loss over the epoch's steps; empty where it was no finite number", "number"),
        "lr": Column("", "learning rate of the epoch's last step", "number"),
        "val_loss": Column("nats", "cross-entropy on validation after the epoch; likewise", "number"),
        "val_top1": Column("percent", "right on validation after the epoch", "percent"),
        "val_top5": Column("percent", "among the best five on validation", "percent"),
    }
)
_REQUIRED = ("key", "epoch")
_FILES = {FILE: "curves.csv", SEARCH_FILE: "search_curves.csv"}


def write_curves(folder: str | Path, curves: Mapping[str, Sequence[Mapping[str, Any]]], beside: str = FILE) -> None:
    """Write the learning curves of runs in one step: the same curves give the same bytes, in whatever order they come.

    Args:
        folder: of the results; made if need be.
        curves: by key of the run, one mapping an epoch by the names of `CURVE_COLUMNS`, without the key.
        beside: the file of the rows: `search_runs.csv` has `search_curves.csv`.

    Raises:
        UserError: for an unknown column, a value that could not be read back, or an epoch given twice.
    """
    lines: dict[tuple[str, int], list[str]] = {}
    for key, points in curves.items():
        for index, point in enumerate(points):
            where = f"curves[{key!r}][{index}]"
            for name in point:
                if name not in CURVE_COLUMNS:
                    raise UserError(f"{where}: {one_of('column', name, CURVE_COLUMNS)}")
            texts = {name: to_text(({"key": key} | dict(point)).get(name)) for name in CURVE_COLUMNS}
            try:
                epoch = _read(texts)["epoch"]
            except ValueError as error:
                raise UserError(f"{where}: {error}") from None
            if (key, epoch) in lines:
                raise UserError(f"{where}: each epoch stands once, but {epoch} comes twice")
            lines[key, epoch] = list(texts.values())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CURVE_COLUMNS)
    writer.writerows(lines[place] for place in sorted(lines))
    write_atomically(Path(folder) / _FILES[beside], text.getvalue())


def load_curves(folder: str | Path, file: str = FILE) -> pd.DataFrame:
    """Return the learning curves of a results folder, one line a label, seed and epoch, in the order of the rows.

    The columns are `label`, `head`, `seed` and `shared` of the rows (a run that several labels share stands under each
    of them), and `CURVE_COLUMNS`; whole numbers are `Int64`, numbers `float64`. The frame is empty if the folder has no
    `curves.csv`: results of before there was one have none.

    Args:
        folder: of the results.
        file: of the rows; with `search_runs.csv` the curves are those of the search's own runs.

    Warns:
        RowsWarning: for each line that cannot be used, and each run that has no row; they are left out.

    Raises:
        UserError: if the rows cannot be used, or if `curves.csv` is there but unreadable or without key or epoch.
    """
    rows = load(folder, file)[["label", "head", "seed", "shared", "key"]]
    path = Path(folder) / _FILES[file]
    points = _points(path, set(rows["key"])) if path.exists() else []
    frame = pd.DataFrame(points, columns=list(CURVE_COLUMNS))
    types = {name: "Int64" if name == "epoch" else "float64" for name in CURVE_COLUMNS if name != "key"}
    frame = frame.astype({"key": rows["key"].dtype, **types}).sort_values("epoch", kind="stable")
    place = pd.Series(range(len(rows)), index=rows.index)
    merged = rows.assign(place=place).merge(frame, on="key", how="inner")
    return merged.sort_values(["place", "epoch"], kind="stable").drop(columns="place").reset_index(drop=True)


def _points(path: Path, known: set[str]) -> list[dict[str, Any]]:
    header, found = opened(path, _REQUIRED)
    points: dict[tuple[str, int], dict[str, Any]] = {}
    strangers: set[str] = set()
    for line, record in found:
        try:
            point = _read(cells_of(header, record))
            place = (point["key"], point["epoch"])
            if place in points:
                raise ValueError(f"epoch {place[1]} of run {place[0]} stands there already")
        except ValueError as error:
            _warn(f"{path}, line {line}: {error}; the line is left out")
            continue
        if place[0] in known:
            points[place] = point
        elif place[0] not in strangers:
            strangers.add(place[0])
            _warn(f"{path}, line {line}: run {place[0]} has no row; its epochs are left out")
    return list(points.values())


def _read(texts: Mapping[str, str]) -> dict[str, Any]:
    point = {name: parse(name, texts.get(name, ""), CURVE_COLUMNS) for name in CURVE_COLUMNS}
    if point["epoch"] < 1:
        raise ValueError(f"`epoch >= 1` must hold, but got {point['epoch']}")
    return point


def _warn(message: str) -> None:
    warnings.warn(message, RowsWarning, stacklevel=4)
