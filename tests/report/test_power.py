"""Power: against known tables and simulation, and the command on real files."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eca_ablate.cli import main
from eca_ablate.errors import UserError
from eca_ablate.report import load, power, seeds_needed, write_rows
from eca_ablate.report.power import spread, table_power
from eca_ablate.report.power_table import power_table


def test_power_of_a_textbook_case():
    """Cohen (1988): a paired test with d = 0.5 needs 34 pairs for 80 % at 5 %."""
    assert seeds_needed(0.5, 1.0) == 34
    assert power(0.5, 1.0, 34) == pytest.approx(0.8078, abs=1e-4)
    assert power(0.5, 1.0, 33) < 0.8


def test_power_agrees_with_simulation():
    random = np.random.default_rng(0)
    t = stats.ttest_1samp(random.normal(0.7, 0.5, (20_000, 6)), 0, axis=1)
    for comparisons in (1, 10):
        share = np.mean(t.pvalue <= 0.05 / comparisons)
        assert power(0.7, 0.5, 6, comparisons) == pytest.approx(share, abs=0.012)


def test_limits_of_power():
    assert power(1, 0.1, 2) == 0  # no test below three seeds
    assert power(0, 1, 50) == pytest.approx(0.05)
    assert power(1, 0, 3) == 1
    assert power(40, 0.1, 30, 10) == 1
    assert seeds_needed(0.72, 0.0) == 3
    assert seeds_needed(0.001, 10) is None
    with pytest.raises(UserError, match="sd >= 0"):
        power(1, -1, 5)


@given(st.floats(0.05, 3), st.floats(0.05, 3), st.integers(1, 55), st.sampled_from([0.5, 0.8, 0.95]))
def test_the_seeds_needed_are_the_fewest(difference, sd, comparisons, wanted):
    n = seeds_needed(difference, sd, comparisons, wanted)
    assert n is not None
    assert power(difference, sd, n, comparisons) >= wanted
    assert n == 3 or power(difference, sd, n - 1, comparisons) < wanted


def test_the_interval_of_a_spread_is_that_of_chi_square():
    found = spread(1.0, 5)
    assert (found.low, found.high) == pytest.approx((0.599, 2.874), abs=1e-3)
    assert math.isnan(spread(1.0, 1).low)


def test_a_tables_power_is_at_least_that_of_each_alone():
    differences, sds = [0.8, 1.5, 2.2], [0.28, 0.28, 0.28]
    whole = table_power(differences, sds, 4)
    alone = [power(difference, sd, 4, 3) for difference, sd in zip(differences, sds, strict=True)]
    assert all(a >= b - 0.01 for a, b in zip(whole, alone, strict=True))
    assert whole[0] > alone[0] + 0.1  # the others, once told, make its level milder
    assert table_power([0.7], [0.3], 5) == pytest.approx([power(0.7, 0.3, 5)], abs=0.01)


@pytest.fixture
def folder(tmp_path, table2):
    for row in table2:
        row["test_top1"] += 0.3 * ((row["seed"] * row["row"]) % 4)
    write_rows(tmp_path, table2)
    return tmp_path


def test_the_command_prints_what_the_functions_give(folder, capsys):
    assert main(["power", str(folder), "--difference", "0.7", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["baseline"] == "Vanilla"
    assert found["comparisons"] == 9
    se = next(line for line in found["lines"] if line["label"] == "SE")
    rows = load(folder)
    ours, theirs = (rows.loc[rows["label"] == label, "test_top1"].to_numpy() for label in ("SE", "Vanilla"))
    sd = np.std(ours - theirs, ddof=1)
    assert se["sd"] == pytest.approx(sd)
    assert se["needed"] == seeds_needed(0.7, sd, 9)
    assert se["power"] == pytest.approx(power(0.7, sd, 3, 9))


def test_the_command_in_words(folder, capsys):
    assert main(["power", str(folder), "--difference", "paper", "--seeds", "6", "--baseline", "SE"]) == 0
    text = capsys.readouterr().out
    assert "two-sided at 0.05/9" in text
    assert "| Vanilla " in text
    assert "−1.51" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--difference", "big"], "takes percentage points other than 0, or `paper`, but got 'big'"),
        (["--difference", "0"], "other than 0"),
        (["--power", "1"], "`0 < power < 1` must hold, but got 1.0"),
        (["--baseline", "nobody"], "unknown baseline 'nobody'"),
        (["--metric", "test_top9"], "unknown column 'test_top9'"),
    ],
)
def test_what_the_command_refuses(folder, capsys, arguments, said):
    assert main(["power", str(folder), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_two_seeds_have_a_spread_and_one_has_none(tmp_path, row):
    def rows(n: int):
        made = [row("V", seed, head="none", test_top1=90 + seed) for seed in range(n)]
        write_rows(tmp_path, [*made, *(row("SE", seed, row=1, test_top1=91 + 3 * seed) for seed in range(n))])
        return load(tmp_path)

    assert power_table(rows(2), 0.7).lines["sd"][0] == pytest.approx(np.sqrt(2))
    with pytest.raises(UserError, match="at least two common seeds"):
        power_table(rows(1), 0.7)
