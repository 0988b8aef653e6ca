"""Our order of the heads beside the paper's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from eca_ablate.report import agreement, load, write_rows
from eca_ablate.report.agreement import agreement_notes
from eca_ablate.report.paper import PRINTED


@pytest.fixture
def like_the_paper(tmp_path, row):
    """Rows whose means are the paper's figures times a factor, with a little noise."""

    def make(factor: float, noise: float, seeds: int = 5):
        random = np.random.default_rng(1)
        rows = []
        for at, line in enumerate(PRINTED[:11]):
            label = f"row {at}"
            for seed in range(seeds):
                value = 50 + factor * (line.top1 - 76) + noise * random.normal()
                options = dict(line.options)
                made = row(label, seed, row=at, head=line.head, options=options, test_top1=value, data_n_test=50_000)
                rows.append(made)
        write_rows(tmp_path, rows)
        return agreement(load(tmp_path))

    return make


def test_the_papers_own_order_agrees(like_the_paper):
    found = like_the_paper(1, 0.001)
    assert found.tau == pytest.approx(1)
    assert len(found.labels) == 11
    assert len(found.pairs) == 55
    widest = found.pairs.iloc[0]
    assert (widest["better"], widest["worse"], widest["paper"]) == ("row 10", "row 0", 2.28)
    assert widest["outcome"] == "agrees"
    assert len(found.told("contradicts")) == 0


def test_the_reverse_order_contradicts(like_the_paper):
    found = like_the_paper(-1, 0.001)
    assert found.tau == pytest.approx(-1)
    assert len(found.told("agrees")) == 0
    assert len(found.told("contradicts")) > 40
    assert "the other way round (row 10 over row 0," in agreement_notes(found)[1]


def test_noise_tells_nothing(like_the_paper):
    found = like_the_paper(0.01, 1.0)
    assert len(found.told("agrees")) == len(found.told("contradicts")) == 0
    assert "tell 0 apart" in agreement_notes(found)[1]


def test_tau_is_scipys(like_the_paper, tmp_path):
    found = like_the_paper(0.3, 0.4)
    ours = load(tmp_path).groupby("label", sort=False)["test_top1"].mean()
    theirs = stats.kendalltau(ours, [line.top1 for line in PRINTED[:11]])
    assert (found.tau, found.p) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert 0 < found.tau < 1


def test_one_network_enters_once(tmp_path, table2):
    write_rows(tmp_path, table2)
    found = agreement(load(tmp_path))
    assert found is not None
    assert "ECA (adaptive)" not in found.labels  # the runs of ECA (k=3)
    assert len(found.labels) == 10


def test_without_two_heads_of_the_paper_there_is_nothing_to_say(tmp_path, row):
    write_rows(tmp_path, [row("A", seed, head="se", options={"reduction": 8}) for seed in range(3)])
    assert agreement(load(tmp_path)) is None


def test_equal_means_have_no_order(tmp_path, row):
    rows = [
        row(label, seed, row=at, head=head)
        for at, (label, head) in enumerate((("A", "none"), ("B", "se")))
        for seed in range(3)
    ]
    write_rows(tmp_path, rows)
    found = agreement(load(tmp_path))
    assert found is not None
    assert math.isnan(found.tau)
    assert "no order" in agreement_notes(found)[0]
