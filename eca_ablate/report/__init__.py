"""Rows to tables: what was measured, in a form that can be published. Reads results only and needs no torch."""

from eca_ablate.report.columns import COLUMNS, REQUIRED, Column
from eca_ablate.report.rows import RowsWarning, load, write_rows
from eca_ablate.report.summary import summarise
from eca_ablate.report.table import render_csv, render_latex, render_markdown, write_tables

__all__ = [
    "COLUMNS",
    "REQUIRED",
    "Column",
    "RowsWarning",
    "load",
    "render_csv",
    "render_latex",
    "render_markdown",
    "summarise",
    "write_rows",
    "write_tables",
]
