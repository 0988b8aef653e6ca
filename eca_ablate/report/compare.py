"""Comparisons of a table's rows to one baseline, paired by seed."""

from __future__ import annotations

import math

import pandas as pd

from eca_ablate.errors import UserError, one_of
from eca_ablate.report.paired import Pair, Result, judge
from eca_ablate.report.power import seeds_needed

BASELINE = "none"
METRIC = "test_top1"
# SE against ECA (k = 3) in the paper's Table 2, percentage points.
PAPER_GAP = 0.72
COMPARED = ("label", "n", "difference", "low", "high", "p", "p_adjusted", "verdict")
DETAILS = ("sd", "correlation", "p_flip", "level", "needed", "seeds", "runs")
_NEEDED = ("label", "key", "seed")
_TITLES = {"none": ("vanilla",)}
_LOWER = ("loss", "seconds")


def compare(
    rows: pd.DataFrame,
    baseline: str = BASELINE,
    metric: str = METRIC,
    *,
    details: bool = False,
    difference: float = PAPER_GAP,
) -> pd.DataFrame:
    """Compare every label with a baseline, paired by seed; the statistics are those of `paired.judge`.

    Args:
        rows: one row a run and label, as `load` gives them; `label`, `key`, `seed` and the metric are enough. A row
            whose metric is missing (diverged, say) takes no part. `data_n_test`, if there, gives the worth of an image.
        baseline: a label, or the name of a head that has one label.
        metric: column to compare; of a loss, less is better.
        details: add `sd` (of the differences), `correlation` (between the two), `p_flip` (sign-flip test), `level`
            (confidence of the interval), `needed`, `seeds` (the common ones) and `runs` (equal for labels that share
            their runs, which count once in the family).
        difference: what `needed` is about: the seeds that would tell it apart with a power of 80 % at this spread, with
            this family's correction. By default the paper's gap between SE and ECA.

    Returns:
        One row a label other than the baseline, in the order of the rows: `label`, `n` (common seeds), `difference`
        (mean, in the metric's unit), `low`, `high` (an interval adjusted for the family), `p` (paired t-test),
        `p_adjusted` (Holm), `verdict`: `better`, `worse`, `not distinguishable at n = ...`, or `same network` for a
        label whose runs are the baseline's. p and interval are NaN below 3 common seeds.

    Raises:
        UserError: if a column is missing, the baseline is not there, or a label has one seed twice.
    """
    values = values_by_seed(rows, metric)
    base = find_baseline(rows, baseline)
    keys = keys_by_seed(rows)
    grain = grain_of(rows, metric)
    labels = [label for label in values if label != base]
    pairs = [
        Pair(
            values[label],
            values[base],
            grain=grain,
            lower_is_better=lower_is_better(metric),
            same=same_network(keys[label], keys[base]),
            twin=frozenset(keys[label].items()),
        )
        for label in labels
    ]
    results = judge(pairs, flips=details)
    table = pd.DataFrame([{"label": label, **vars(result)} for label, result in zip(labels, results, strict=True)])
    table["runs"] = [" ".join(keys[label][seed] for seed in sorted(keys[label])) for label in labels]
    table = table.reindex(columns=[*COMPARED, *(DETAILS if details else ())])
    table = table.astype({"n": "int64", **dict.fromkeys(["difference", "low", "high", "p", "p_adjusted"], "float64")})
    if details:
        family = family_size(table)
        table["needed"] = pd.array([_seeds(result, difference, family) for result in results], dtype="Int64")
    return table


def family_size(compared: pd.DataFrame) -> int:
    """Return how many distinct comparisons were corrected together, of what `compare(..., details=True)` gave."""
    return int(compared.loc[compared["p"].notna(), "runs"].nunique())


def find_baseline(rows: pd.DataFrame, baseline: str = BASELINE) -> str:
    """Return the label that a label or the name of a head stands for.

    Raises:
        UserError: if there is none, or a head has several.
    """
    labels = list(dict.fromkeys(rows["label"]))
    if baseline in labels:
        return baseline
    heads = rows["head"] if "head" in rows else pd.Series("", index=rows.index)
    found = list(dict.fromkeys(rows.loc[heads == baseline, "label"]))
    if not found:
        found = [label for label in labels if label.lower() in {baseline.lower(), *_TITLES.get(baseline, ())}]
    if len(found) > 1:
        raise UserError(f"the baseline must be one row, but head `{baseline}` has {', '.join(found)}; name a label")
    if not found:
        raise UserError(one_of("baseline", baseline, labels))
    return str(found[0])


def values_by_seed(rows: pd.DataFrame, metric: str) -> dict[str, dict[int, float]]:
    """Return what each label has of a metric, by seed; labels keep their order, missing values are left out.

    Raises:
        UserError: if a column is missing, a label has one seed twice, or the metric is no number.
    """
    for name in (*_NEEDED, metric):
        if name not in rows:
            raise UserError(one_of("column", name, map(str, rows.columns)))
    twice = rows[rows.duplicated(["label", "seed"])]
    if len(twice):
        label, seed = twice[["label", "seed"]].iloc[0]
        raise UserError(f"a label has each seed once, but {label!r} has seed {seed} twice; give the rows two labels")
    found: dict[str, dict[int, float]] = {label: {} for label in dict.fromkeys(rows["label"])}
    try:
        numbers = pd.to_numeric(rows[metric]).astype("float64")
    except (TypeError, ValueError) as error:
        raise UserError(f"a metric is a column of numbers, but `{metric}` is not: {error}") from None
    for label, seed, value in zip(rows["label"], rows["seed"], numbers, strict=True):
        if math.isfinite(value):
            found[label][int(seed)] = float(value)
    return found


def same_network(ours: dict[int, str], theirs: dict[int, str]) -> bool:
    """Tell whether two labels are one network: at every common seed, the run with the same key."""
    common = set(ours) & set(theirs)
    return bool(common) and all(ours[seed] == theirs[seed] for seed in common)


def grain_of(rows: pd.DataFrame, metric: str) -> float:
    """Return the percentage points that one image is worth; 0 if not known, or if the metric is no accuracy."""
    part = {"test": "data_n_test", "val": "data_n_validation"}.get(metric.partition("_")[0], "")
    if not metric.endswith(("top1", "top5")) or part not in rows:
        return 0.0
    images = pd.to_numeric(rows[part]).dropna()
    return 100 / float(images.max()) if len(images) and images.max() > 0 else 0.0


def lower_is_better(metric: str) -> bool:
    """Tell the direction of a metric by its name."""
    return metric.endswith(_LOWER)


def keys_by_seed(rows: pd.DataFrame) -> dict[str, dict[int, str]]:
    """Return the names of the runs of each label, by seed."""
    found: dict[str, dict[int, str]] = {}
    for label, seed, key in zip(rows["label"], rows["seed"], rows["key"], strict=True):
        found.setdefault(label, {})[int(seed)] = str(key)
    return found


def _seeds(result: Result, difference: float, family: int) -> int | None:
    if math.isnan(result.p):
        return None
    return seeds_needed(difference, result.sd, family)
