"""Reading and writing `runs.csv` and its like. A damaged row is left out with a warning; the good ones stay."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from eca_ablate.errors import UserError, one_of
from eca_ablate.files import write_atomically
from eca_ablate.report.cells import check_row, further_labels, parse, to_text
from eca_ablate.report.columns import COLUMNS, METRICS, REQUIRED
from eca_ablate.report.lines import cells_of, opened

FILE = "runs.csv"
SEARCH_FILE = "search_runs.csv"
_GUESSES = {"network": "the label", "status": "the metrics"}
_DTYPES = {"integer": "Int64", "number": "float64", "percent": "float64", "text": "object", "json": "object"}


class RowsWarning(UserWarning):
    """Something in a `runs.csv` that was left out or left empty; the message names file, line and reason."""


def write_rows(folder: str | Path, rows: Sequence[Mapping[str, Any]], file: str = FILE) -> None:
    """Write `runs.csv` in one step: the same rows give the same bytes, in whatever order they come.

    Args:
        folder: of the results; made if need be.
        rows: one mapping a run, by the names of `COLUMNS`. JSON columns take the value or its text; `None` and NaN
            become empty cells.
        file: its name; the runs of a search stand in `search_runs.csv`.

    Raises:
        UserError: for an unknown or missing column, a value that could not be read back, or a run given twice.
    """
    lines: dict[str, tuple[tuple[float, int, str], list[str]]] = {}
    for index, row in enumerate(rows):
        where = f"rows[{index}]"
        for name in row:
            if name not in COLUMNS:
                raise UserError(f"{where}: {one_of('column', name, COLUMNS)}")
        texts = {name: to_text(row.get(name)) for name in COLUMNS}
        try:
            values = {name: parse(name, text) for name, text in texts.items()}
            check_row(values)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
        key = values["key"]
        if key in lines:
            raise UserError(f"{where}: each run counts once, but key {key} comes twice")
        position = float("inf") if values["row"] is None else values["row"]
        lines[key] = ((position, values["seed"], key), list(texts.values()))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(cells for _, cells in sorted(lines.values()))
    write_atomically(Path(folder) / file, text.getvalue())


def load(folder: str | Path, file: str = FILE) -> pd.DataFrame:
    """Return the rows of `runs.csv` in the experiment's order, a shared run once under each of its labels.

    The file may also be `search_runs.csv`, where runs belong together by their network and not by their label. The
    column `shared` is true where a row repeats a run under a further label. Texts and JSON are strings, whole numbers
    `Int64`, numbers `float64`; what is missing is `<NA>`, NaN or an empty string.

    Warns:
        RowsWarning: for each row that cannot be used (it is left out), each column unknown (kept) or missing (left
            empty).

    Raises:
        UserError: if the file is absent, unreadable or empty, or lacks one of `REQUIRED`.
    """
    path = Path(folder) / file
    header, found = opened(path, REQUIRED)
    _warn_of_columns(path, header)
    runs: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    cells: dict[tuple[str, int], int] = {}
    name = "network" if file == SEARCH_FILE else "label"  # a search may give two networks one label
    for line, record in found:
        try:
            run = _read(header, record)
            if run["key"] in seen:
                raise ValueError(f"run {run['key']} stands in line {seen[run['key']]} already")
            faces = _faces(run)
            for face in faces:
                cell = (face[name], face["seed"])
                if cell in cells:
                    raise ValueError(f"seed {cell[1]} of {cell[0]!r} stands in line {cells[cell]} already")
        except ValueError as error:
            _warn(f"{path}, line {line}: {error}; the row is left out")
            continue
        seen[run["key"]] = line
        cells.update({(face[name], face["seed"]): line for face in faces})
        runs.extend(faces)
    return _frame(runs, [*COLUMNS, *(name for name in header if name not in COLUMNS)])


def _warn_of_columns(path: Path, header: list[str]) -> None:
    absent = [name for name in COLUMNS if name not in header]
    if absent:
        guessed = [name for name in ("network", "status") if name in absent]
        how = "; ".join(
            [f"{', '.join(name for name in absent if name not in guessed)} left empty"] * (len(absent) > len(guessed))
            + [f"{name} taken from {_GUESSES[name]}" for name in guessed]
        )
        _warn(f"{path}, line 1: {', '.join(absent)} missing; {how}")
    unknown = [name for name in header if name not in COLUMNS]
    if unknown:
        _warn(f"{path}, line 1: unknown column {', '.join(map(ascii, unknown))}; kept as text")


def _read(header: list[str], record: list[str]) -> dict[str, Any]:
    run = {name: parse(name, text) for name, text in cells_of(header, record).items()}
    run.setdefault("status", "done" if any(run.get(name) is not None for name in METRICS) else "diverged")
    run.setdefault("network", f"of {run['label']}")
    check_row(run)
    return run


def _faces(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the run under its own label and under each further one."""
    first = {**run, "shared": False}
    return [first, *({**run, **other, "shared": True} for other in further_labels(run.get("shared_with") or ""))]


def _frame(runs: list[dict[str, Any]], names: list[str]) -> pd.DataFrame:
    order: dict[str, float] = {}  # a label without a position comes after those that have one
    for run in runs:
        at = run.get("row")
        order.setdefault(run["label"], len(runs) * 2.0**63 if at is None else float(at))
    runs = sorted(runs, key=lambda run: order[run["label"]])
    frame = pd.DataFrame(index=pd.RangeIndex(len(runs)))
    for name in names:
        kind = COLUMNS[name].kind if name in COLUMNS else "text"
        blank = "" if kind in ("text", "json") else None
        values = [run.get(name, blank) for run in runs]
        frame[name] = pd.Series(values, index=frame.index, dtype=_DTYPES[kind])
    frame["shared"] = pd.Series([run["shared"] for run in runs], index=frame.index, dtype=bool)
    return frame


def _warn(message: str) -> None:
    warnings.warn(message, RowsWarning, stacklevel=3)
