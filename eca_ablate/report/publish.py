"""All that the files of a results folder give, in one go: tables, figures and the page."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from eca_ablate.errors import UserError
from eca_ablate.report.about import load_about
from eca_ablate.report.rows import load
from eca_ablate.report.search_table import no_runs, read_search, write_networks
from eca_ablate.report.table import write_tables


class Published(NamedTuple):
    """What was written.

    Args:
        tables: in Markdown, as a terminal shows them: of the compared heads, and of a search's networks.
        page: `report.html`.
        missing: why a search has no table of compared heads yet; else empty.
    """

    tables: tuple[Path, ...]
    page: Path
    missing: str


def publish(folder: str | Path, command: str = "", baseline: str | None = None) -> Published:
    """Write tables, figures and `report.html` of a results folder.

    Args:
        folder: of the results.
        command: that made them, for provenance; by default the one that is known from before.
        baseline: what the rows are compared with, a label or head; by default `none`, or else the first row.

    Raises:
        UserError: if there is nothing to report, or no such baseline.
    """
    folder = Path(folder)
    command = command or load_about(folder).command
    searched = read_search(folder)
    tables: list[Path] = []
    rows, missing = no_runs(), ""
    try:
        rows = load(folder)
    except UserError as error:
        if searched is None:
            raise
        missing = str(error)
    if len(rows) or searched is None:
        tables.append(write_tables(folder, command, baseline))
    elif not missing:
        missing = "it has no run yet"
    from eca_ablate.report.figures import write_figures  # only here: they take matplotlib and Jinja
    from eca_ablate.report.page import write_page
    from eca_ablate.report.pictures import write_pictures

    pictures = write_pictures(folder, rows, baseline)
    of_search = []
    if searched is not None:
        tables.append(write_networks(folder, searched, command))
        of_search = write_figures(folder, searched.points, searched.networks, searched.facts)
    page = write_page(folder, rows, pictures, searched, of_search, command, baseline)
    return Published(tuple(tables), page, missing)
