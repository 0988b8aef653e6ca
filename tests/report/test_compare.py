"""`compare`: from rows to verdicts, with no more than label, key, seed and metric."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from eca_ablate.errors import UserError
from eca_ablate.report import compare, load, write_rows
from eca_ablate.report.comparison_table import compare_table, comparison_body, comparison_csv

COLUMNS = ["label", "n", "difference", "low", "high", "p", "p_adjusted", "verdict"]


def rows_of(**arms: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"label": label, "key": f"{label}-{seed}", "seed": seed, "test_top1": value}
            for label, values in arms.items()
            for seed, value in enumerate(values)
        ]
    )


BASE = [75.1, 75.4, 74.9, 75.6, 75.2]
SE = [75.9, 76.3, 75.4, 76.1, 76.2]


def test_four_columns_are_enough():
    found = compare(rows_of(none=BASE, se=SE))
    assert list(found.columns) == COLUMNS
    assert list(found["label"]) == ["se"]
    assert found["p"][0] == pytest.approx(stats.ttest_rel(SE, BASE).pvalue)
    assert found["verdict"][0] == "better"


def test_another_baseline_turns_the_sign():
    rows = rows_of(none=BASE, se=SE)
    (forth,), (back,) = compare(rows).to_dict("records"), compare(rows, "se").to_dict("records")
    assert back["difference"] == -forth["difference"]
    assert back["low"] == pytest.approx(-forth["high"])
    assert (forth["verdict"], back["verdict"]) == ("better", "worse")


def test_order_of_rows_does_not_matter():
    rows = rows_of(none=BASE, se=SE)
    shuffled = rows.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(compare(rows), compare(shuffled))


def test_missing_seeds_and_a_diverged_run_are_left_out_and_said():
    rows = rows_of(none=BASE, se=SE, eca=SE)
    rows = rows.drop(index=rows.index[(rows["label"] == "se") & (rows["seed"] == 0)])
    rows.loc[(rows["label"] == "eca") & (rows["seed"] == 3), "test_top1"] = math.nan
    found = compare(rows, details=True).set_index("label")
    assert list(found["n"]) == [4, 4]
    assert found["seeds"]["se"] == (1, 2, 3, 4)
    assert found["p"]["eca"] == pytest.approx(stats.ttest_rel(np.delete(SE, 3), np.delete(BASE, 3)).pvalue)


def test_the_table_says_which_seeds_were_not_paired(tmp_path, row):
    none = {"head": "none", "row": 0}
    rows = [row("Vanilla", seed, test_top1=90 + seed, **none) for seed in range(4)]
    rows += [row("SE", seed, row=1, test_top1=91 + seed % 2) for seed in (1, 2, 3, 4)]
    lost = {"status": "diverged", "test_top1": None, "val_top1": None}
    rows += [row("B", seed, row=2, **(lost if seed == 2 else {"test_top1": 92 + seed})) for seed in range(4)]
    write_rows(tmp_path, rows)
    found = compare_table(load(tmp_path))
    assert found is not None
    assert "some are left out: SE (not 0, 4); B (not 2)." in " ".join(found.notes)
    assert [line[1] for line in comparison_body(found)] == ["3", "3"]


def test_one_network_is_no_comparison_and_counts_once():
    rows = rows_of(none=BASE, a=SE, b=SE, c=BASE)
    rows.loc[rows["label"] == "b", "key"] = rows.loc[rows["label"] == "a", "key"].to_numpy()
    rows.loc[rows["label"] == "c", "key"] = rows.loc[rows["label"] == "none", "key"].to_numpy()
    found = compare(rows).set_index("label")
    assert found["verdict"]["c"] == "same network"
    assert found["difference"]["c"] == 0
    assert math.isnan(found["p"]["c"])
    assert found["p_adjusted"]["a"] == found["p_adjusted"]["b"] == found["p"]["a"]


def test_a_head_may_be_named_where_it_has_one_label():
    rows = rows_of(Vanilla=BASE, A=SE, B=SE).assign(head=["none"] * 5 + ["se"] * 10)
    assert list(compare(rows, "none")["label"]) == ["A", "B"]
    assert list(compare(rows.drop(columns="head"))["label"]) == ["A", "B"]  # the field's name for no head
    with pytest.raises(UserError, match="head `se` has A, B; name a label"):
        compare(rows, "se")
    with pytest.raises(UserError, match=r"unknown baseline 'Vanila'.*did you mean `Vanilla`"):
        compare(rows, "Vanila")


def test_what_cannot_be_compared_is_refused():
    rows = rows_of(none=BASE, se=SE)
    with pytest.raises(UserError, match=r"unknown column 'test_top2'.*did you mean `test_top1`"):
        compare(rows, metric="test_top2")
    with pytest.raises(UserError, match="unknown column 'key'"):
        compare(rows.drop(columns="key"))
    with pytest.raises(UserError, match="`test_top1` is not"):
        compare(rows.assign(test_top1="high"))
    with pytest.raises(UserError, match="'none' has seed 0 twice"):
        compare(pd.concat([rows, rows[:1]]))


def test_of_a_loss_less_is_better():
    rows = rows_of(none=BASE, se=SE).rename(columns={"test_top1": "test_loss"})
    assert compare(rows, metric="test_loss")["verdict"][0] == "worse"


def test_the_worth_of_an_image_comes_from_the_rows():
    shifted = [value + 1 for value in BASE[:3]]
    rows = rows_of(none=BASE[:3], se=shifted)
    assert compare(rows)["verdict"][0] == "better"
    assert compare(rows.assign(data_n_test=100))["verdict"][0] == "not distinguishable at n = 3"


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_seeds_are_said(tmp_path, row, n):
    rows = [row("Vanilla", seed, head="none", test_top1=90 + seed) for seed in range(n)]
    write_rows(tmp_path, [*rows, *(row("SE", seed, row=1, test_top1=95) for seed in range(n))])
    found = compare_table(load(tmp_path))
    assert found is not None
    assert f"Fewer than 3 common seeds, so no test: SE ({n})." in found.notes
    assert comparison_body(found)[0][-1] == f"not distinguishable at n = {n}"
    assert comparison_body(found)[0][4:7] == ["–", "–", "–"]


def test_the_table_says_when_sign_flips_cannot_reach_the_level(tmp_path, row, table2):
    write_rows(tmp_path, table2)
    found = compare_table(load(tmp_path))
    assert found is not None
    assert found.family == 9  # ten labels beside Vanilla, of which ECA (adaptive) is ECA (k=3)
    notes = " ".join(found.notes)
    assert "with 3 seeds 0.25, and the corrected level 0.05/9 only from 9 seeds on" in notes
    assert "Kendall's τ" in notes


def test_a_folder_without_vanilla_is_compared_with_its_first_row(tmp_path, row):
    write_rows(tmp_path, [row(label, seed, row=at) for at, label in enumerate("AB") for seed in range(3)])
    found = compare_table(load(tmp_path))
    assert found is not None
    assert found.baseline == "A"
    assert "baseline" in comparison_csv(found).splitlines()[0]
    assert compare_table(load(tmp_path)[:3]) is None
