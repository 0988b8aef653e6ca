"""One cell of `runs.csv`: from a value to its text and back, by the kind of its column."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from eca_ablate.report.columns import COLUMNS, NEVER_EMPTY, SHARED, STATUSES, Column


def to_text(value: Any) -> str:
    """Return the text of a cell: nothing for a missing value, every digit of a float, sorted keys in JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if hasattr(value, "item"):  # a scalar of numpy
        value = value.item()
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return str(value)


def parse(name: str, text: str, columns: Mapping[str, Column] = COLUMNS) -> Any:
    """Return the value of a cell; `None` for an empty one that is no text.

    Raises:
        ValueError: if the text is no value of that column; the message names the column.
    """
    kind = columns[name].kind if name in columns else "text"
    if kind == "text":
        if name == "status" and text not in STATUSES:
            raise ValueError(f"`status` must be one of {', '.join(STATUSES)}, but got {_short(text)}")
        if name in NEVER_EMPTY and not text:
            raise ValueError(f"`{name}` must not be empty")
        return text
    if not text and name not in ("seed", "epoch"):
        return None if kind != "json" else ""
    if kind == "json":
        _json(name, text)
        return text
    if kind == "integer":
        return _integer(name, text)
    return _number(name, text, percent=kind == "percent")


def further_labels(text: str) -> list[dict[str, Any]]:
    """Return what a `shared_with` cell lists, with `options` as JSON text like in the column of that name."""
    found: list[dict[str, Any]] = []
    entries = _json("shared_with", text) if text else []
    if not isinstance(entries, list):
        raise ValueError(f"`shared_with` must be a JSON list, but got {_short(text)}")
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("label"), str) or not entry["label"]:
            raise ValueError(f"`shared_with` must list objects with a `label`, but got {_short(text)}")
        unknown = sorted(set(entry) - set(SHARED))
        if unknown:
            raise ValueError(f"`shared_with` knows {', '.join(SHARED)}, but got {', '.join(unknown)}")
        found.append({name: parse(name, to_text(entry.get(name))) for name in SHARED})
    return found


def check_row(row: Mapping[str, Any]) -> None:
    """Raise a ValueError unless the cells of one row agree with each other."""
    further_labels(row.get("shared_with") or "")
    for name in ("val_top1", "test_top1"):
        if row["status"] == "done" and name in row and row[name] is None:
            raise ValueError(f"a run that is `done` needs a number for `{name}`, but it is empty")


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"`{name}` must be JSON, but got {_short(text)}") from None


def _integer(name: str, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f"`{name}` must be a whole number, but got {_short(text)}") from None
    if not 0 <= value < 2**63:
        raise ValueError(f"`0 <= {name} < 2^63` must hold, but got {_short(text)}")
    return value


def _number(name: str, text: str, percent: bool) -> float | None:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"`{name}` must be a number, but got {_short(text)}") from None
    if math.isnan(value):
        return None
    if percent and not 0 <= value <= 100:
        raise ValueError(f"`0 <= {name} <= 100` must hold (percent), but got {_short(text)}")
    return value


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
