"""The command `report`: write the tables again from the stored rows."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from eca_ablate.errors import UserError
from eca_ablate.report.search_table import write_search
from eca_ablate.report.table import write_tables


def show_report(folder: str, baseline: str | None = None) -> int:
    """Write the tables and figures of a results folder again from its rows, and print. Returns the exit code.

    Of a search, the table of its networks comes after that of its winner, which is missing until there is a winner.
    Lines of the rows files that cannot be read are left out, and named on standard error.

    Args:
        folder: of the results.
        baseline: what the rows are compared with, a label or head; by default `none`, or else the first row.

    Raises:
        UserError: if there is nothing to report, or no such baseline.
    """
    tables: list[Path] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        networks = write_search(folder)
        try:
            tables.append(write_tables(folder, baseline=baseline))
        except UserError as error:
            if networks is None:
                raise
            print(f"no table of the winner yet: {error}", file=sys.stderr)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    if networks is not None:
        tables.append(networks)
    sys.stdout.write("\n".join(table.read_text(encoding="utf-8") for table in tables))
    return 0
