"""Paired tests of one family: against scipy and arithmetic by hand, known answers, and what must always hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eca_ablate.report.paired import ALPHA, Pair, flips_reach, holm, judge

A = [75.1, 75.4, 74.9, 75.6, 75.2]
B = [75.9, 76.3, 75.4, 76.1, 76.2]
C = [75.2, 75.3, 75.1, 75.5, 75.0]


def pair(ours: list[float], theirs: list[float], **facts: object) -> Pair:
    return Pair(dict(enumerate(ours)), dict(enumerate(theirs)), **facts)  # type: ignore[arg-type]


def test_one_comparison_is_scipys_paired_t_test():
    (found,) = judge([pair(B, A)])
    theirs = stats.ttest_rel(B, A)
    assert found.p == found.p_adjusted == pytest.approx(theirs.pvalue, rel=1e-12)
    interval = theirs.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert found.difference == pytest.approx(np.mean(np.subtract(B, A)))
    assert found.sd == pytest.approx(np.std(np.subtract(B, A), ddof=1))
    assert found.correlation == pytest.approx(stats.pearsonr(B, A).statistic)
    assert (found.n, found.seeds, found.verdict) == (5, (0, 1, 2, 3, 4), "better")


def test_two_comparisons_are_corrected_together():
    better, neither = judge([pair(B, A), pair(C, A)])
    p = [stats.ttest_rel(B, A).pvalue, stats.ttest_rel(C, A).pvalue]
    assert better.p_adjusted == pytest.approx(2 * p[0])
    assert neither.p_adjusted == pytest.approx(max(2 * p[0], p[1]))
    assert (better.verdict, neither.verdict) == ("better", "not distinguishable at n = 5")
    for found, ours in ((better, B), (neither, C)):
        interval = stats.ttest_rel(ours, A).confidence_interval(1 - ALPHA / 2)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_an_interval_that_only_holms_later_step_closes():
    """Two p of 0.02 and 0.04: Bonferroni leaves the second open, Holm does not, and the interval follows Holm."""
    random = np.random.default_rng(3)
    noise = stats.zscore(random.normal(size=6), ddof=1)

    def shifted(p: float) -> list[float]:
        t = stats.t.ppf(1 - p / 2, 5)
        return list(noise + t / math.sqrt(6))

    first, second = judge([pair(shifted(0.02), [0.0] * 6), pair(shifted(0.04), [0.0] * 6)])
    assert (first.p, second.p) == pytest.approx((0.02, 0.04))
    assert first.verdict == second.verdict == "better"
    assert first.level == pytest.approx(0.975)
    assert second.level == pytest.approx(0.95)
    assert second.low > 0


def test_identical_arms():
    (found,) = judge([pair(A, A)])
    assert (found.difference, found.low, found.high, found.p, found.p_adjusted) == (0, 0, 0, 1, 1)
    assert found.verdict == "not distinguishable at n = 5"


@pytest.mark.parametrize("shift", [0.7, -0.7])
def test_a_shifted_arm_without_noise(shift):
    (found,) = judge([pair([value + shift for value in A], A)])
    assert found.verdict == ("better" if shift > 0 else "worse")
    assert found.difference == pytest.approx(shift)
    assert (found.low, found.high) == pytest.approx((shift, shift))
    assert found.p == 0


def test_no_spread_on_few_images_is_no_certainty():
    """Three times one image more can be chance: rounding to whole images stands for the spread."""
    ours, theirs = [91.0, 92.0, 90.0], [90.0, 91.0, 89.0]
    (blind,) = judge([pair(ours, theirs)])
    (seeing,) = judge([pair(ours, theirs, grain=1.0)])
    assert blind.verdict == "better"
    assert seeing.verdict == "not distinguishable at n = 3"
    assert seeing.p == pytest.approx(2 * stats.t.sf(math.sqrt(6) * math.sqrt(3), 2))
    assert seeing.low < 0 < seeing.high


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_seeds_have_no_p(n):
    (found,) = judge([pair(B[:n], A[:n])])
    assert found.n == n
    assert math.isnan(found.p)
    assert math.isnan(found.p_adjusted)
    assert math.isnan(found.low)
    assert found.verdict == f"not distinguishable at n = {n}"
    assert math.isnan(found.difference) == (n == 0)


def test_only_common_seeds_are_paired():
    (found,) = judge([Pair({0: 1.0, 1: 2.0, 2: 4.0, 7: 90.0}, {0: 0.5, 1: 1.0, 2: 2.5, 8: 0.0})])
    (same,) = judge([pair([1.0, 2.0, 4.0], [0.5, 1.0, 2.5])])
    assert found == same


def test_of_losses_less_is_better():
    (found,) = judge([pair(B, A, lower_is_better=True)])
    assert found.verdict == "worse"


def test_the_family_counts_distinct_comparisons_only():
    alone = judge([pair(B, A)])[0]
    same, twin, other, few = judge(
        [pair(A, A, same=True), pair(B, A, twin="b"), pair(B, A, twin="b"), pair(B[:2], A[:2])]
    )
    assert same.verdict == "same network"
    assert math.isnan(same.p)
    assert twin == other
    assert twin.p_adjusted == alone.p
    assert math.isnan(few.p)


def test_sign_flips_speak_from_the_seeds_at_which_they_can_reach_the_level():
    assert [flips_reach(m) for m in (1, 2, 10)] == [6, 7, 9]
    for m in (1, 2, 10, 55):
        n = flips_reach(m)
        assert 2 / 2**n <= ALPHA / m < 2 / 2 ** (n - 1)
    six = judge([pair([*B, 76.0], [*A, 75.3])])[0]
    assert six.p_flip == 2 / 2**6  # all six differences have one sign
    assert math.isnan(judge([pair(B, A)])[0].p_flip)


def test_sign_flips_by_enumeration():
    random = np.random.default_rng(0)
    ours, theirs = random.normal(0.4, 1, 8), random.normal(0, 1, 8)
    (found,) = judge([pair(list(ours), list(theirs))])
    differences = ours - theirs
    signs = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1)
    means = differences @ signs / 8
    extreme = np.abs(means) >= abs(differences.mean()) - 1e-12
    assert found.p_flip == pytest.approx(extreme.mean())


VALUES = st.floats(0, 100, allow_nan=False).map(lambda value: round(value, 2))


@given(st.data(), st.integers(3, 6), st.integers(1, 5))
def test_interval_and_verdict_never_contradict_each_other(data, n, m):
    base = data.draw(st.lists(VALUES, min_size=n, max_size=n))
    arms = [data.draw(st.lists(VALUES, min_size=n, max_size=n)) for _ in range(m)]
    grain = data.draw(st.sampled_from([0.0, 0.01, 0.28]))
    for found in judge([pair(arm, base, grain=grain) for arm in arms], flips=False):
        outside = found.low > 0 or found.high < 0
        assert outside == (found.verdict in ("better", "worse")) == (found.p_adjusted <= ALPHA)
        assert found.low <= found.difference <= found.high
        assert found.p <= found.p_adjusted <= 1
        assert (found.verdict == "better") == (outside and found.difference > 0)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_corrects_at_most_as_bonferroni(p):
    adjusted = holm(p)
    for a, b in zip(p, adjusted, strict=True):
        assert a <= b <= min(1.0, len(p) * a) or b == pytest.approx(min(1.0, max(len(p) * a, b)))
    order = sorted(range(len(p)), key=lambda at: p[at])
    assert [adjusted[at] for at in order] == sorted(adjusted)
