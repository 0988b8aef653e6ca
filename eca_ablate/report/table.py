"""The result table in Markdown (also for a terminal), CSV and LaTeX."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pandas as pd

from eca_ablate.errors import UserError
from eca_ablate.files import write_atomically
from eca_ablate.report.comparison_table import (
    COMPARISON,
    LEFT,
    Compared,
    compare_table,
    comparison_body,
    comparison_csv,
)
from eca_ablate.report.latex import latex_comparison, latex_table
from eca_ablate.report.markdown import escape_markdown, markdown_table
from eca_ablate.report.notes import SAME, provenance, reading_notes
from eca_ablate.report.rows import FILE, load
from eca_ablate.report.summary import summarise

HEADER = (
    "Method",
    "k",
    "Head weights",
    "Per block",
    "Weights",
    "MACs",
    "n",
    "Top-1 (%)",
    "Top-5 (%)",
    "Paper top-1",
    "Paper top-5",
)
_LEFT = ("Method",)
_NONE = "–"


def write_tables(folder: str | Path, command: str = "", baseline: str | None = None) -> Path:
    """Write `table.md`, `table.csv`, `table.tex` and `comparison.csv` beside the `runs.csv` of a folder.

    Args:
        folder: of the results.
        command: that made them, for the table's footer; by default the one in the footer of the `table.md` there.
        baseline: what the rows are compared with, a label or head; by default `none`, or else the first row.

    Returns:
        The path of `table.md`, which reads well in a terminal too.

    Raises:
        UserError: if `runs.csv` cannot be used, has no run, or lacks the baseline.
    """
    folder = Path(folder)
    rows = load(folder)
    if rows.empty:
        raise UserError(f"{folder / FILE}: a table needs at least one run, but there is none yet")
    summary = summarise(rows)
    command = command or _command_of(folder / "table.md")
    compared = compare_table(rows, baseline)
    write_atomically(folder / "table.csv", render_csv(summary))
    write_atomically(folder / "table.tex", render_latex(summary, rows, compared, command))
    write_atomically(folder / "table.md", render_markdown(summary, rows, compared, command))
    if compared:
        write_atomically(folder / "comparison.csv", comparison_csv(compared))
    return folder / "table.md"


def render_markdown(
    summary: pd.DataFrame, rows: pd.DataFrame, compared: Compared | None = None, command: str = ""
) -> str:
    """Return the tables and their notes; the columns are padded, so that the text can be read unrendered."""
    parts = [*markdown_table(HEADER, body(summary), _LEFT), ""]
    if compared:
        parts += [f"Compared with {escape_markdown(compared.baseline)}:", ""]
        parts += [*markdown_table(COMPARISON, comparison_body(compared), LEFT), ""]
    notes = reading_notes(summary, rows) + (compared.notes if compared else [])
    parts += ["How to read it:", "", *(f"- {escape_markdown(note)}" for note in notes), ""]
    facts = provenance(rows, command)
    return "\n".join([*parts, "Where it comes from:", "", *(f"- {escape_markdown(fact)}" for fact in facts), ""])


def render_csv(summary: pd.DataFrame) -> str:
    """Return the summary as it is: plain integers, every digit, nothing marked or rounded."""
    return summary.to_csv(index=False, lineterminator="\n")


def render_latex(summary: pd.DataFrame, rows: pd.DataFrame, compared: Compared | None = None, command: str = "") -> str:
    r"""Return `table` environments for `\input`, with booktabs rules and the same notes."""
    experiment = str(rows["experiment"].iloc[0]) if len(rows) else ""
    text = latex_table(
        body(summary, spelt_out=False), experiment, reading_notes(summary, rows), provenance(rows, command)
    )
    if compared is None:
        return text
    return text + latex_comparison(
        comparison_body(compared), compared.baseline, experiment, COMPARISON[-2], compared.notes
    )


def body(summary: pd.DataFrame, spelt_out: bool = True) -> list[list[str]]:
    """Return the cells under `HEADER` as plain text, not yet escaped.

    Args:
        summary: what `summarise` returned.
        spelt_out: name the other row beside a label with the same network, and not only in the note.
    """
    lines = []
    for row in summary.to_dict("records"):
        label = str(row["label"])
        if row["same_as"]:
            label += f" = {row['same_as']} {SAME}" if spelt_out else f" {SAME}"
        lines.append(
            [
                label,
                _kernel(str(row["kernel_sizes"])),
                _count(row["head_weights"]),
                str(row["formula"]) or _NONE,
                _count(row["weights"]),
                _macs(row["macs"]),
                str(row["n"]),
                _spread(row["test_top1_mean"], row["test_top1_std"]),
                _spread(row["test_top5_mean"], row["test_top5_std"]),
                _NONE if pd.isna(row["paper_top1"]) else f"{row['paper_top1']:.2f}",
                _NONE if pd.isna(row["paper_top5"]) else f"{row['paper_top5']:.2f}",
            ]
        )
    return lines


def _command_of(table: Path) -> str:
    """Return the command in the footer of a table, which the rows do not hold."""
    try:
        found = re.findall(r"^- Command: (.*)$", table.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return ""
    return html.unescape(re.sub(r"\\(.)", r"\1", found[-1])) if found else ""


def _kernel(sizes: str) -> str:
    distinct = set(sizes.split("-"))
    return (distinct.pop() if len(distinct) == 1 else sizes) or _NONE


def _count(value: int) -> str:
    return _NONE if pd.isna(value) else f"{value:,}"


def _macs(value: int) -> str:
    """Return three significant digits and a decimal prefix."""
    if pd.isna(value):
        return _NONE
    for prefix, unit in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * unit:
            share = value / unit
            digits = 2 if share < 9.995 else 1 if share < 99.95 else 0
            return f"{share:.{digits}f} {prefix}"
    return str(value)


def _spread(mean: float, std: float) -> str:
    if pd.isna(mean):
        return _NONE
    return f"{mean:.2f}" if pd.isna(std) else f"{mean:.2f} ± {std:.2f}"
