"""Our order of the heads beside the paper's: Kendall's tau, and the pairs that our seeds can tell apart at all."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from eca_ablate.report.compare import METRIC, grain_of, keys_by_seed, values_by_seed
from eca_ablate.report.paired import LEAST, Pair, judge
from eca_ablate.report.paper import printed

AGREES, CONTRADICTS = "agrees", "contradicts"
_PAIRS = ("better", "worse", "paper", "n", "difference", "low", "high", "p", "p_adjusted", "outcome")


class Agreement(NamedTuple):
    """How our order of the paper's heads compares with the paper's.

    Args:
        labels: the heads that both have, each network once, in the order of the rows.
        tau: Kendall's tau-b between our means and the paper's figures, from -1 (reversed) to 1 (same order).
        p: of tau, two-sided, against no relation; NaN for fewer than 4 heads, where it could not be small.
        pairs: every two heads, the paper's better one first: `better`, `worse`, `paper` (its gap in points), `n`,
            `difference` (ours, paired by seed), `low`, `high`, `p`, `p_adjusted` (over all pairs), and `outcome`:
            `agrees`, `contradicts`, or `not distinguishable at n = ...`.
    """

    labels: tuple[str, ...]
    tau: float
    p: float
    pairs: pd.DataFrame

    def told(self, outcome: str) -> pd.DataFrame:
        """Return the pairs with this outcome, the paper's widest gap first."""
        return self.pairs[self.pairs["outcome"] == outcome]


def agreement(rows: pd.DataFrame, metric: str = METRIC) -> Agreement | None:
    """Compare our order with the paper's; None unless two networks have both a figure of the paper's and runs.

    Args:
        rows: as `load` gives them.
        metric: `test_top1`, `val_top1`, `test_top5` or `val_top5`.
    """
    values = values_by_seed(rows, metric)
    keys = keys_by_seed(rows)
    theirs: dict[str, float] = {}
    seen = set()
    for row in rows.drop_duplicates("label").to_dict("records"):
        label = str(row["label"])
        found = printed(str(row["head"]), str(row["options"]))
        network = frozenset(keys[label].items())
        if found and values[label] and network not in seen:
            theirs[label] = found.top5 if metric.endswith("top5") else found.top1
            seen.add(network)
    if len(theirs) < 2:
        return None
    labels = tuple(theirs)
    means = [float(np.mean(list(values[label].values()))) for label in labels]
    tau = stats.kendalltau(means, list(theirs.values()))
    pairs = _pairs(labels, theirs, values, grain_of(rows, metric))
    return Agreement(labels, float(tau.statistic), float(tau.pvalue) if len(labels) >= 4 else float("nan"), pairs)


def agreement_notes(found: Agreement) -> list[str]:
    """Return what a reader should know of it, one sentence or two an item."""
    heads = len(found.labels)
    if np.isnan(found.tau):
        return ["Kendall's τ: our means are all alike and give no order to compare with the paper's."]
    order = f"Kendall's τ between our order of {heads} heads and the paper's is {found.tau:.2f}"
    if not np.isnan(found.p):
        order += f" (p = {found.p:.2g})"
    notes = [f"{order}; 1 is the same order, 0 no relation, -1 the reverse. It takes no spread into account."]
    agree, contradict = found.told(AGREES), found.told(CONTRADICTS)
    count = len(found.pairs)
    said = f"Of the paper's {count} pairs of heads our seeds tell {len(agree) + len(contradict)} apart"
    said += f" (paired by seed, corrected over all {count})"
    parts = [f"{len(agree)} as in the paper{_named(agree)}"] if len(agree) else []
    if len(contradict):
        parts.append(f"{len(contradict)} the other way round{_named(contradict)}")
    notes.append(f"{said}: {'; '.join(parts)}." if parts else f"{said}.")
    if (found.pairs["n"] < LEAST).any():
        notes.append(f"Pairs with fewer than {LEAST} common seeds are not tested.")
    return notes


def _named(pairs: pd.DataFrame, most: int = 6) -> str:
    names = [f"{better} over {worse}" for better, worse in zip(pairs["better"], pairs["worse"], strict=True)]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f" ({', '.join(names[:most])}{more})"


def _pairs(
    labels: tuple[str, ...], theirs: dict[str, float], values: dict[str, dict[int, float]], grain: float
) -> pd.DataFrame:
    couples = [(a, b) if theirs[a] >= theirs[b] else (b, a) for a, b in itertools.combinations(labels, 2)]
    couples.sort(key=lambda couple: theirs[couple[1]] - theirs[couple[0]])
    results = judge([Pair(values[a], values[b], grain=grain) for a, b in couples], flips=False)
    lines = [
        {
            "better": a,
            "worse": b,
            "paper": round(theirs[a] - theirs[b], 2),
            **vars(result),
            "outcome": {"better": AGREES, "worse": CONTRADICTS}.get(result.verdict, result.verdict),
        }
        for (a, b), result in zip(couples, results, strict=True)
    ]
    return pd.DataFrame(lines, columns=list(_PAIRS))
