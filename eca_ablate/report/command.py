"""The commands that need nothing but stored rows: `report` and `power`."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Sequence

from eca_ablate.errors import UserError
from eca_ablate.report.power_table import PAPER, power_table, render_power
from eca_ablate.report.publish import publish
from eca_ablate.report.rows import load


def show_report(folder: str, baseline: str | None = None) -> int:
    """Write tables, figures and page of a results folder again from its rows, and print. Returns the exit code.

    Of a search, the table of its networks comes after that of its winner, which is missing until there is a winner.
    Lines of the rows files that cannot be read are left out, and named on standard error.

    Args:
        folder: of the results.
        baseline: what the rows are compared with, a label or head; by default `none`, or else the first row.

    Raises:
        UserError: if there is nothing to report, or no such baseline.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        published = publish(folder, baseline=baseline)
    _say(caught)
    if published.missing:
        print(f"no table of the winner yet: {published.missing}", file=sys.stderr)
    sys.stdout.write("\n".join(table.read_text(encoding="utf-8") for table in published.tables))
    print(f"{published.page} shows it all", file=sys.stderr)
    return 0


def show_power(
    folder: str, difference: str, baseline: str | None, metric: str, seeds: int | None, wanted: float, as_json: bool
) -> int:
    """Print how well a difference could be told from the spread of a folder's rows. Returns the exit code.

    Args:
        folder: of the results.
        difference: in percentage points, or `paper` for each head's own in the paper.
        baseline: a label or head; by default `none`, or else the first row.
        metric: whose spread is taken.
        seeds: that the power is about; by default those that there are.
        wanted: power for the seeds that are needed.
        as_json: print JSON, for scripts.

    Raises:
        UserError: if the rows cannot be used, or the difference is no number.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = load(folder)
        given = difference if difference == PAPER else _points(difference)
        found = power_table(rows, given, baseline=baseline, metric=metric, seeds=seeds, wanted=wanted)
    _say(caught)
    if as_json:
        lines = json.loads(found.lines.to_json(orient="records"))
        print(json.dumps({**found._asdict(), "lines": lines}, indent=2, ensure_ascii=False))
    else:
        sys.stdout.write(render_power(found))
    return 0


def _points(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value):
        raise UserError(f"`--difference` takes percentage points other than 0, or `{PAPER}`, but got {text!r}")
    return value


def _say(caught: Sequence[warnings.WarningMessage]) -> None:
    for message in dict.fromkeys(str(warning.message) for warning in caught):  # the rows are read more than once
        print(f"warning: {message}", file=sys.stderr)
