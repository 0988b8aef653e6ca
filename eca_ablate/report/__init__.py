"""Rows to tables: what was measured, in a form that can be published. Reads results only and needs no torch."""

from eca_ablate.report.about import About, load_about
from eca_ablate.report.agreement import Agreement, agreement
from eca_ablate.report.columns import COLUMNS, REQUIRED, Column
from eca_ablate.report.compare import compare
from eca_ablate.report.curves import CURVE_COLUMNS, load_curves, write_curves
from eca_ablate.report.gates import GATES_FOLDER, Gates, load_gates
from eca_ablate.report.networks import Network, rank_networks
from eca_ablate.report.pictures import Picture, write_pictures
from eca_ablate.report.points import POINT_COLUMNS, SearchFacts, SearchPoint, load_facts, load_points, write_points
from eca_ablate.report.power import power, seeds_needed
from eca_ablate.report.publish import publish
from eca_ablate.report.rows import SEARCH_FILE, RowsWarning, load, write_rows
from eca_ablate.report.search_table import write_search
from eca_ablate.report.summary import summarise
from eca_ablate.report.table import render_csv, render_latex, render_markdown, write_tables

__all__ = [
    "COLUMNS",
    "CURVE_COLUMNS",
    "GATES_FOLDER",
    "POINT_COLUMNS",
    "REQUIRED",
    "SEARCH_FILE",
    "About",
    "Agreement",
    "Column",
    "Gates",
    "Network",
    "Picture",
    "RowsWarning",
    "SearchFacts",
    "SearchPoint",
    "agreement",
    "compare",
    "load",
    "load_about",
    "load_curves",
    "load_facts",
    "load_gates",
    "load_points",
    "power",
    "publish",
    "rank_networks",
    "render_csv",
    "render_latex",
    "render_markdown",
    "seeds_needed",
    "summarise",
    "write_curves",
    "write_pictures",
    "write_points",
    "write_rows",
    "write_search",
    "write_tables",
]
