"""What the measured spread promises: for each comparison of a folder, the power now and the seeds that are needed."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd

from eca_ablate.errors import UserError
from eca_ablate.report.compare import METRIC
from eca_ablate.report.comparison_table import compare_table
from eca_ablate.report.markdown import escape_markdown, markdown_table
from eca_ablate.report.paired import ALPHA, SAME
from eca_ablate.report.paper import printed
from eca_ablate.report.power import POWER, power, seeds_needed, spread, table_power

PAPER = "paper"
_HEADER = ("Method", "Difference", "n", "sd of differences", "its 95 %", "Power", "Seeds needed", "their 95 %")
_NONE = "–"


class PowerTable(NamedTuple):
    """The power of a folder's comparisons.

    Args:
        baseline: label that the others are compared with.
        comparisons: distinct ones, over which the tests are corrected.
        wanted: power that `needed` is about.
        lines: one a label: `label`, `difference` (points), `n` (seeds that `power` is about), `sd` of the paired
            differences as measured, `sd_low` and `sd_high` (95 %), `power`, `needed`, and `needed_low`, `needed_high`
            for the ends of the sd's interval. Seeds beyond 100,000 are missing.
        pooled_sd: root mean square of the sd.
        whole: the power of each is that in a table where all differ as stated, and not alone.
    """

    baseline: str
    comparisons: int
    wanted: float
    lines: pd.DataFrame
    pooled_sd: float
    whole: bool


def power_table(
    rows: pd.DataFrame,
    difference: float | str,
    *,
    baseline: str | None = None,
    metric: str = METRIC,
    seeds: int | None = None,
    wanted: float = POWER,
) -> PowerTable:
    """Return how well a difference could be told, from the spread that the rows have.

    Args:
        rows: as `load` gives them.
        difference: true difference in percentage points, for every head; or `paper`: each head's own in the paper.
        baseline: a label or head; by default `none`, or else the first label.
        metric: whose spread is taken.
        seeds: that `power` is about; by default those that each comparison has.
        wanted: power for `needed`.

    Raises:
        UserError: if there is nothing to compare, no spread (fewer than two common seeds), or, with `paper`, no figure
            of the paper's for the baseline.
    """
    if not 0 < wanted < 1:
        raise UserError(f"`0 < power < 1` must hold, but got {wanted}")
    compared = compare_table(rows, baseline, metric)
    if compared is None:
        raise UserError("a comparison needs two rows with different labels, but there is one")
    table = compared.table[(compared.table["verdict"] != SAME) & compared.table["sd"].notna()]
    if table.empty:
        raise UserError("a spread needs at least two common seeds of a head and the baseline; run more seeds")
    table = table.assign(difference=_differences(rows, table, compared.baseline, difference, metric))
    table = table[table["difference"].notna()]
    distinct = table.drop_duplicates("runs")
    m = len(distinct)
    lines = []
    for row in table.to_dict("records"):
        n = seeds or int(row["n"])
        known = spread(row["sd"], int(row["n"]))
        lines.append(
            {
                "label": row["label"],
                "difference": row["difference"],
                "n": n,
                "sd": row["sd"],
                "sd_low": known.low,
                "sd_high": known.high,
                "power": power(row["difference"], row["sd"], n, m),
                **{
                    name: seeds_needed(row["difference"], sd, m, wanted)
                    for name, sd in (("needed", row["sd"]), ("needed_low", known.low), ("needed_high", known.high))
                },
            }
        )
    found = pd.DataFrame(lines).astype(dict.fromkeys(("needed", "needed_low", "needed_high"), "Int64"))
    if difference == PAPER:
        n = seeds or int(distinct["n"].min())
        whole = table_power(list(distinct["difference"]), list(distinct["sd"]), n)
        by_runs = dict(zip(distinct["runs"], whole, strict=True))
        found = found.assign(n=n, power=[by_runs[runs] for runs in table["runs"]])
    pooled = math.sqrt(float((table["sd"] ** 2).mean()))
    return PowerTable(compared.baseline, m, wanted, found, pooled, difference == PAPER)


def render_power(found: PowerTable) -> str:
    """Return the table and its notes in Markdown, padded for a terminal."""
    lines = [
        [
            str(row["label"]),
            f"{row['difference']:+.2f}".replace("-", "−") if found.whole else f"{abs(row['difference']):.2f}",
            str(row["n"]),
            f"{row['sd']:.2f}",
            f"{row['sd_low']:.2f} to {row['sd_high']:.2f}",
            f"{row['power']:.0%}",
            _seeds(row["needed"]),
            f"{_seeds(row['needed_low'])} to {_seeds(row['needed_high'])}",
        ]
        for row in found.lines.to_dict("records")
    ]
    level = f"{ALPHA:g}" if found.comparisons == 1 else f"{ALPHA:g}/{found.comparisons}"
    notes = [
        f"Paired t-test against {found.baseline}, two-sided at {level}: the level of one comparison among "
        f"{found.comparisons} in the first step of Holm's procedure."
        if found.comparisons > 1
        else f"Paired t-test against {found.baseline}, two-sided at {level}.",
        f"Seeds needed are those for a power of {found.wanted:.0%}. They go with the square of the sd, and a few seeds "
        "know it badly: its 95 % interval, and theirs, stand beside.",
        f"The sd of all comparisons pooled is {found.pooled_sd:.2f} points.",
    ]
    if found.whole:
        notes.append(
            "Power here is that of Holm's procedure in a table where every head differs from the baseline as in the "
            "paper (simulated, 20,000 tables): each difference that is told makes the next one's level milder. Seeds "
            "needed are for each difference alone."
        )
    table = markdown_table(_HEADER, lines, left=("Method",))
    return "\n".join([*table, "", *(f"- {escape_markdown(note)}" for note in notes), ""])


def _differences(
    rows: pd.DataFrame, table: pd.DataFrame, base: str, difference: float | str, metric: str
) -> list[float]:
    if difference != PAPER:
        return [float(difference)] * len(table)
    firsts = rows.drop_duplicates("label").set_index("label")
    figure = {}
    for label in [base, *table["label"]]:
        theirs = printed(str(firsts.loc[label, "head"]), str(firsts.loc[label, "options"]))
        if theirs is not None:
            figure[label] = theirs.top5 if metric.endswith("top5") else theirs.top1
    if base not in figure or len(figure) < 2:
        raise UserError(f"the paper has no figures for {base!r} and another row; give a number: `--difference 0.7`")
    return [round(figure[label] - figure[base], 2) if label in figure else math.nan for label in table["label"]]


def _seeds(value: object) -> str:
    return "over 100,000" if pd.isna(value) else f"{value:,}"  # type: ignore[call-overload]
