"""Thousands of tables whose truth is known: how often the verdicts are wrong, and how often they find what is there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from eca_ablate.report.compare import compare
from eca_ablate.report.paper import PRINTED
from eca_ablate.report.power import power, table_power

TABLES = 2_000
ROWS = [line for line in PRINTED[:11] if line.head != "none"]
SEEDS = 5
SPREAD = 0.2
# Three standard errors of a share near 5 % of 2,000 tables.
ERROR = 3 * np.sqrt(0.05 * 0.95 / TABLES)


def tables(differences: list[float], seeds: int = SEEDS, shared: float = 0.0):
    """Yield tables of a vanilla arm and one arm a difference; `shared` is what the arms of a seed have in common."""
    random = np.random.default_rng(20_201_116)
    arms = len(differences) + 1
    labels = np.repeat(["none", *(f"row {at}" for at in range(arms - 1))], seeds)
    frame = pd.DataFrame({"label": labels, "seed": np.tile(np.arange(seeds), arms)})
    frame["key"] = frame["label"] + "-" + frame["seed"].astype(str)
    means = np.repeat([75.2, *(75.2 + difference for difference in differences)], seeds)
    for _ in range(TABLES):
        luck = np.tile(random.normal(0, shared, seeds), arms) if shared else 0.0
        yield frame.assign(test_top1=means + luck + random.normal(0, SPREAD, len(means)))


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_without_a_difference_few_tables_have_a_false_verdict(shared):
    wrong = missed = 0
    for rows in tables([0.0] * len(ROWS), shared=shared):
        found = compare(rows)
        told = found["verdict"].isin(["better", "worse"])
        wrong += told.any()
        missed += ((found["low"] > 0) | (found["high"] < 0)).any()
    assert wrong / TABLES <= 0.05 + ERROR
    assert wrong == missed
    assert wrong > 0  # the test can fail: verdicts are possible


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [4, 5])
def test_the_papers_differences_are_found_with_the_power_that_was_promised(seeds):
    differences = [round(line.top1 - 75.20, 2) for line in ROWS]
    sd = SPREAD * np.sqrt(2)
    promised = table_power(differences, [sd] * len(differences), seeds)
    found = np.zeros(len(differences))
    covered = np.zeros(len(differences))
    for rows in tables(differences, seeds):
        result = compare(rows)
        found += (result["verdict"] == "better").to_numpy()
        covered += ((result["low"] <= differences) & (result["high"] >= differences)).to_numpy()
    assert found / TABLES == pytest.approx(promised, abs=0.03)
    assert min(promised) < (0.95 if seeds == 4 else 1)  # not all of them are easy
    assert min(covered / TABLES) > 0.95


@pytest.mark.slow
def test_one_difference_among_equals_is_found_with_the_power_that_was_promised():
    differences = [0.0] * (len(ROWS) - 1) + [0.72]
    promised = power(0.72, SPREAD * np.sqrt(2), SEEDS, len(ROWS))
    found = sum(compare(rows)["verdict"].iloc[-1] == "better" for rows in tables(differences))
    assert 0.2 < promised < 0.9
    assert found / TABLES == pytest.approx(promised, abs=0.03)
