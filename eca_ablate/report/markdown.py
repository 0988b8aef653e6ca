"""Tables and texts in Markdown: whatever a user wrote shows as written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]], left: Sequence[str]) -> list[str]:
    """Return the lines of a table, its cells escaped and padded.

    Args:
        header: names of the columns.
        lines: plain text, not yet escaped.
        left: names of the columns that are aligned left; the others are aligned right.
    """
    escaped = [[escape_markdown(cell) for cell in line] for line in lines]
    widths = [max(3, *map(_width, column)) for column in zip(header, *escaped, strict=True)]

    def join(cells: Sequence[str]) -> str:
        padded = []
        for name, cell, width in zip(header, cells, widths, strict=True):
            space = " " * (width - _width(cell))
            padded.append(cell + space if name in left else space + cell)
        return f"| {' | '.join(padded)} |"

    rule = [
        ":" + "-" * (width - 1) if name in left else "-" * (width - 1) + ":"
        for name, width in zip(header, widths, strict=True)
    ]
    return [join(header), join(rule), *map(join, escaped)]


def escape_markdown(text: str) -> str:
    """Make a user's text show as written: no markup, no HTML, no second line, no control characters."""
    text = "".join(char if char.isprintable() else " " for char in text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|~])", r"\\\1", text)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)  # inside a word an underscore is no markup


def _width(text: str) -> int:
    """Return the columns that a text takes up in a terminal."""
    marks = ("Mn", "Me", "Cf")
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.category(char) in marks for char in text)
