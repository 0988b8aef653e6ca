"""The comparisons of a table as cells and notes, for every format; and the choice of a baseline when none is named."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd

from eca_ablate.report.agreement import agreement, agreement_notes
from eca_ablate.report.compare import BASELINE, METRIC, PAPER_GAP, compare, family_size, find_baseline, grain_of
from eca_ablate.report.paired import ALPHA, LEAST, SAME, flips_reach
from eca_ablate.report.power import spread

COMPARISON = (
    "Method",
    "n",
    "Difference",
    "Interval",
    "p",
    "p (Holm)",
    "p (flip)",
    "r",
    f"n for {PAPER_GAP}",
    "Verdict",
)
LEFT = ("Method", "Verdict")
_NONE = "–"


class Compared(NamedTuple):
    """The comparisons of one table.

    Args:
        baseline: its label.
        table: what `compare(..., details=True)` gave.
        notes: how to read it, and how our order compares with the paper's; plain text.
    """

    baseline: str
    table: pd.DataFrame
    notes: list[str]

    @property
    def family(self) -> int:
        """Return how many distinct comparisons were corrected together."""
        return family_size(self.table)


def compare_table(rows: pd.DataFrame, baseline: str | None = None, metric: str = METRIC) -> Compared | None:
    """Compare the rows of a table with a baseline, and with the paper; None if there is only one row.

    Args:
        rows: as `load` gives them.
        baseline: a label or head; by default `none` (no attention) if the rows have it, else the first label.
        metric: to compare.

    Raises:
        UserError: if the baseline that was named is not there.
    """
    labels = list(dict.fromkeys(rows["label"]))
    if len(labels) < 2:
        return None
    if baseline is None:
        plain = rows.loc[rows["head"] == BASELINE, "label"]
        baseline = str(plain.iloc[0]) if len(plain) else labels[0]
    base = find_baseline(rows, baseline)
    table = compare(rows, base, metric, details=True)
    notes = _notes(rows, table, base, metric)
    found = agreement(rows, metric)
    return Compared(base, table, notes + (agreement_notes(found) if found else []))


def comparison_body(compared: Compared) -> list[list[str]]:
    """Return the cells under `COMPARISON` as plain text, not yet escaped."""
    return [
        [
            str(row["label"]),
            str(row["n"]),
            _signed(row["difference"]) if row["verdict"] != SAME else _NONE,
            _NONE if math.isnan(row["low"]) else f"{_signed(row['low'])} to {_signed(row['high'])}",
            _p(row["p"]),
            _p(row["p_adjusted"]),
            _p(row["p_flip"]),
            _NONE if math.isnan(row["correlation"]) else f"{row['correlation']:.2f}".replace("-", "−"),
            _NONE if pd.isna(row["needed"]) else f"{row['needed']:,}",
            str(row["verdict"]),
        ]
        for row in compared.table.to_dict("records")
    ]


def comparison_csv(compared: Compared) -> str:
    """Return the comparisons with every digit."""
    table = compared.table.drop(columns="runs")
    table = table.assign(baseline=compared.baseline, seeds=[", ".join(map(str, seeds)) for seeds in table["seeds"]])
    return table.to_csv(index=False, lineterminator="\n")


def _notes(rows: pd.DataFrame, table: pd.DataFrame, base: str, metric: str) -> list[str]:
    tested = table[table["p"].notna()]
    m = family_size(table)
    grain = grain_of(rows, metric)
    notes = [f"Differences are to {base}, in percentage points of {_named(metric)}, paired by seed."]
    if grain:
        notes[0] += f" One image is {grain:.2g} points."
    if m:
        notes.append(
            f"p is the paired t-test's, two-sided; p (Holm) is corrected over the {m} distinct comparison"
            f'{"s" if m > 1 else ""} of this table, so that the chance of any false "better" or "worse" in it is '
            f"{ALPHA:.0%}. The intervals are corrected for the same family: they hold together (Bonferroni; where only "
            "Holm's later step tells a difference, that step's), and leave out 0 exactly where the verdict is "
            '"better" or "worse".'
            if m > 1
            else "p is the paired t-test's, two-sided; the interval is of 95 % and leaves out 0 exactly where the "
            'verdict is "better" or "worse".'
        )
        notes.append(_flip_note(tested, m))
        notes.append(
            "r is the correlation between the two over the seeds: pairing by seed pays where it is above 0, and costs "
            "where it is not."
        )
        n = int(tested["n"].max())
        factor = spread(1.0, n)
        notes.append(
            f"n for {PAPER_GAP}: the seeds that would tell the paper's difference between SE and ECA apart with a "
            f"power of 80 % under this correction, if the spread is the one measured. From {n} seeds it is known "
            f"only to a factor of {factor.low:.2g} to {factor.high:.2g} (95 %), and the seeds go with its square."
        )
    few = [f"{label} ({n})" for label, n in zip(table["label"], table["n"], strict=True) if n < LEAST]
    if few:
        notes.append(f"Fewer than {LEAST} common seeds, so no test: {', '.join(few)}.")
    return notes + _unpaired(rows, table, base, metric)


def _flip_note(tested: pd.DataFrame, m: int) -> str:
    enough = flips_reach(m)
    if (tested["n"] >= enough).all():
        return (
            "p (flip) is a second opinion that assumes no normal distribution: sign flips, corrected by Holm likewise."
        )
    n = int(tested["n"].min())
    return (
        f"A sign-flip test, which assumes no normal distribution, has 2/2^n as its smallest p: with {n} seeds "
        f"{2 / 2**n:.2g}, and {'0.05' if m == 1 else f'the corrected level 0.05/{m}'} only from {enough} seeds on. "
        "Until then the verdicts rest on differences being normally distributed."
    )


def _unpaired(rows: pd.DataFrame, table: pd.DataFrame, base: str, metric: str) -> list[str]:
    """Say which seeds were left out because one of the two lacks them."""
    have = rows[rows[metric].notna()]
    every = {label: set(group["seed"]) for label, group in have.groupby("label", sort=False)}
    said = []
    for label, seeds, verdict in zip(table["label"], table["seeds"], table["verdict"], strict=True):
        alone = sorted((every.get(label, set()) | every.get(base, set())) - set(seeds))
        if alone and verdict != SAME:
            said.append(f"{label} (not {', '.join(map(str, alone))})")
    return [f"Only seeds that both have are paired; some are left out: {'; '.join(said)}."] if said else []


def _named(metric: str) -> str:
    part, _, what = metric.partition("_")
    parts = {"test": "test", "val": "validation"}
    return f"{what.replace('top', 'top-')} on {parts[part]}" if part in parts else metric


def _signed(value: float) -> str:
    if math.isnan(value):
        return _NONE
    return f"{value:+.2f}".replace("-", "−") if round(value, 2) else "0.00"


def _p(value: float) -> str:
    if math.isnan(value):
        return _NONE
    return (
        "<0.0001"
        if value < 0.0001
        else f"{value:.4f}"
        if value < 0.01
        else f"{value:.3f}"
        if value < 0.1
        else f"{value:.2f}"
    )
