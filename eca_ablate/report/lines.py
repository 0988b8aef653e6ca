"""Reading a CSV file of results, so that damage costs the damaged lines and no others."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from eca_ablate.errors import UserError

csv.field_size_limit(2**24)  # `blocks` of a deep network is longer than the 128 KiB that csv allows by default


def records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells); a line that csv cannot read gives no cells, and reading goes on after it.

    Raises:
        UserError: if the file is absent or unreadable.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); `eca-ablate run` writes it into its results folder"
        ) from None
    lines = list(io.StringIO(text, newline=""))
    at, width = 0, None
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        reader = csv.reader(itertools.islice(lines, at, None), strict=True)
        try:
            record = next(reader)
            used = reader.line_num
        except csv.Error:
            record, used = [], 1
        width = width or len(record)
        if used > 1 and len(record) != width:  # a quote that does not close must not swallow the lines below it
            record, used = [], 1
        yield at + 1, record
        at += used


def opened(path: Path, required: Sequence[str]) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the header of a file of results, and its further lines as `records` yields them.

    Raises:
        UserError: if the file is absent, unreadable or empty, or its header lacks a column that is required.
    """
    found = records(path)
    try:
        _, header = next(found)
    except StopIteration:
        raise UserError(f"{path}: the first line must name the columns, but the file is empty") from None
    check_header(path, header, required)
    return header, found


def cells_of(header: Sequence[str], record: Sequence[str]) -> dict[str, str]:
    """Return the texts of a line by their columns.

    Raises:
        ValueError: if the line was cut off or is not text.
    """
    if not record:
        raise ValueError("the quotes do not close")
    if len(record) != len(header):
        raise ValueError(f"{len(header)} cells are needed, but got {len(record)}: cut off while it was written?")
    if any("\udc80" <= char <= "\udcff" for text in record for char in text):
        raise ValueError("it is not UTF-8")
    return dict(zip(header, record, strict=True))


def check_header(path: Path, header: Sequence[str], required: Sequence[str]) -> None:
    """Raise a UserError unless the first line has the columns without which nothing can be read, each once."""
    missing = [name for name in required if name not in header]
    if missing:
        raise UserError(
            f"{path}, line 1: the columns {', '.join(required)} are needed, but {', '.join(missing)} is missing"
        )
    if len(set(header)) < len(header):
        twice = sorted({name for name in header if list(header).count(name) > 1})
        raise UserError(f"{path}, line 1: each column stands once, but {', '.join(map(ascii, twice))} comes twice")
