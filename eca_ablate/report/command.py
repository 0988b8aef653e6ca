"""The command `report`: write the tables again from the stored rows."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from eca_ablate.report.table import write_tables


def show_report(folder: str) -> int:
    """Write the tables of a results folder again from its rows, and print one. Returns the exit code.

    Lines of the rows file that cannot be read are left out, and named on standard error.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = write_tables(Path(folder))
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    sys.stdout.write(table.read_text(encoding="utf-8"))
    return 0
