"""Putting the page together: its sections in the order in which they are read, and the one file they become."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eca_ablate.files import write_atomically
from eca_ablate.report.about import About, load_about
from eca_ablate.report.comparison_table import COMPARISON, LEFT, compare_table, comparison_body
from eca_ablate.report.notes import provenance, reading_notes
from eca_ablate.report.page.parts import Section, configurations, make_table, show
from eca_ablate.report.page.verdict import verdict
from eca_ablate.report.pictures import FOLDER, Picture
from eca_ablate.report.search_table import Searched, networks_body, search_notes, search_provenance
from eca_ablate.report.summary import summarise
from eca_ablate.report.table import HEADER, body

PAGE_FILE = "report.html"


def write_page(
    folder: str | Path,
    rows: pd.DataFrame,
    pictures: Sequence[Picture] = (),
    searched: Searched | None = None,
    of_search: Sequence[Picture] = (),
    command: str = "",
    baseline: str | None = None,
) -> Path:
    """Write `report.html`: question, verdict, tables, figures, notes and provenance, as one file without a network.

    Args:
        folder: of the results.
        rows: as `load` returns them; none if a search has no winner yet.
        pictures: of these rows; `figures/` holds them as SVG.
        searched: the search, if it is one.
        of_search: its pictures.
        command: that made the results; by default what `experiment.json` says.
        baseline: what the rows are compared with, a label or head; by default `none`, or else the first row.

    Returns:
        Its path.

    Raises:
        UserError: if there is no such baseline.
    """
    folder = Path(folder)
    about = load_about(folder)
    sections: list[Section] = []
    sentences = ["There is no row yet that could be compared."]
    if len(rows):
        sections, sentences = _compared(folder, rows, pictures, baseline)
    trained = rows
    if searched is not None:
        sections.append(_search(folder, searched, of_search))
        others = searched.runs[~searched.runs["network"].isin(set(rows["network"]))]
        trained = pd.concat([rows, others]) if len(rows) and len(others) else others if len(others) else rows
    sections.append(
        Section(
            "provenance",
            "Where it comes from",
            facts=_pairs(provenance(rows, command or about.command) if len(rows) else []),
            configurations=configurations(trained, about.shared),
        )
    )
    write_atomically(folder / PAGE_FILE, _render(about, rows if len(rows) else trained, sentences, sections))
    return folder / PAGE_FILE


def _compared(
    folder: Path, rows: pd.DataFrame, pictures: Sequence[Picture], baseline: str | None
) -> tuple[list[Section], list[str]]:
    summary = summarise(rows)
    compared = compare_table(rows, baseline)
    table = make_table(
        "One row a head, on the test set: mean ± standard deviation over the seeds.",
        HEADER,
        body(summary),
        HEADER[:1],
        HEADER[0],
    )
    sections = [Section("results", "Results", table=table, notes=reading_notes(summary, rows))]
    if compared is not None:
        caption = f"Differences to {compared.baseline}, paired by seed."
        table = make_table(caption, COMPARISON, comparison_body(compared), LEFT, COMPARISON[0])
        title = f"Compared with {compared.baseline}"
        sections.append(Section("comparison", title, table=table, notes=compared.notes))
    if pictures:
        shown = [show(folder / FOLDER, picture) for picture in pictures]
        sections.append(Section("figures", "Figures", pictures=shown))
    return sections, verdict(compared)


def _search(folder: Path, searched: Searched, pictures: Sequence[Picture]) -> Section:
    header, lines, left = networks_body(searched.networks, searched.facts)
    return Section(
        "search",
        "The search",
        table=make_table("Distinct networks, ranked on validation.", header, lines, left, "Network"),
        pictures=[show(folder / FOLDER, picture) for picture in pictures],
        notes=search_notes(searched.networks, searched.facts),
        facts=_pairs(search_provenance(searched.networks, searched.runs, searched.facts)),
    )


def _pairs(facts: Sequence[str]) -> list[tuple[str, str]]:
    parted = [fact.partition(": ") for fact in facts]
    return [(name, text) for name, _, text in parted]


def _render(about: About, rows: pd.DataFrame, sentences: Sequence[str], sections: Sequence[Section]) -> str:
    loader = PackageLoader("eca_ablate.report.page", ".")
    templates = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    style, script = (_source(templates, name) for name in ("page.css", "page.js"))
    name = str(rows["experiment"].iloc[0]) if len(rows) else ""
    return templates.get_template("page.html").render(
        title=about.question or name or "Results",
        subtitle=_subtitle(rows, name),
        expected=about.expected,
        verdict=sentences,
        sections=sections,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _source(templates: Environment, name: str) -> Markup:
    """Return a file of our own, which is the only text that enters the page as it is."""
    assert templates.loader is not None  # noqa: S101  (it was given above)
    return Markup(templates.loader.get_source(templates, name)[0])  # noqa: S704  (no text from outside)


def _hash(source: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


def _subtitle(rows: pd.DataFrame, name: str) -> str:
    if not len(rows):
        return name
    first: dict[Any, Any] = rows.iloc[0].to_dict()
    runs = rows["key"].nunique()
    days = sorted(str(when)[:10] for when in rows["finished_at"] if when)
    parts = [
        name,
        f"{first['backbone']} on {first['data']}" if first["backbone"] and first["data"] else "",
        f"{runs} run{'s' if runs != 1 else ''}",
        days[0] if days and days[0] == days[-1] else f"{days[0]} to {days[-1]}" if days else "",
    ]
    return " · ".join(part for part in parts if part)
