"""Paired tests of one family: differences by seed, corrected together, with intervals that agree with the verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special, stats

ALPHA = 0.05  # the chance that a family without any true difference yields a "better" or "worse"
LEAST = 3  # seeds below which no p is given
SAME = "same network"
_FLIPS = 9_999  # sign flips are enumerated up to this many, and drawn beyond it
_NOISE = 1e-9  # points: a spread below this is rounding of the arithmetic, not of the accuracies


@dataclass(frozen=True)
class Pair:
    """One comparison: a metric of two networks at the seeds that both have.

    Args:
        ours: values by seed.
        theirs: values of the baseline by seed.
        grain: what one image is worth, in the metric's unit; 0 if not known.
        lower_is_better: true for losses.
        same: both are one network, so that there is nothing to compare.
        twin: name of the runs compared, equal for two pairs that compare the same runs; such pairs count once.
    """

    ours: Mapping[int, float]
    theirs: Mapping[int, float]
    grain: float = 0.0
    lower_is_better: bool = False
    same: bool = False
    twin: object = None

    @property
    def seeds(self) -> list[int]:
        """Seeds that both have, in order."""
        return sorted(set(self.ours) & set(self.theirs))


@dataclass(frozen=True)
class Result:
    """What a paired comparison gave; NaN where too few seeds allow no statement.

    Args:
        n: seeds that both have.
        difference: mean of ours minus theirs, in the metric's unit.
        sd: sample standard deviation of the differences.
        low: lower end of the interval, adjusted for the family.
        high: upper end.
        p: of the paired t-test, two-sided.
        p_adjusted: corrected by Holm over the family.
        p_flip: of the sign-flip permutation test, corrected likewise; NaN below the seeds at which it can reach
            the corrected level.
        level: confidence of the interval.
        correlation: Pearson's, between the two at the common seeds.
        verdict: `better`, `worse`, `not distinguishable at n = ...` or `same network`.
        seeds: the common ones.
    """

    n: int
    difference: float
    sd: float
    low: float
    high: float
    p: float
    p_adjusted: float
    p_flip: float
    level: float
    correlation: float
    verdict: str
    seeds: tuple[int, ...]


def judge(pairs: Sequence[Pair], flips: bool = True) -> list[Result]:
    """Test the pairs of one family.

    The t-test's p are corrected by Holm's step-down procedure, which keeps the chance of any false verdict in the
    family at `ALPHA`. The family is made of the distinct comparisons that can be tested: not of pairs that are one
    network, nor of those with fewer than `LEAST` common seeds.

    The interval has Bonferroni's confidence, 1 - ALPHA/m for a family of m, under which all its intervals hold
    together. Where Holm's procedure tells a difference that this interval leaves open, it is that of the procedure's
    own step, 1 - ALPHA/(m - i) after i rejections. So an interval leaves out zero if and only if the verdict is
    `better` or `worse`.

    Args:
        pairs: the comparisons.
        flips: also do the sign-flip test, which takes longer than all the rest.
    """
    raw = [_test(pair) for pair in pairs]
    first: dict[object, int] = {}
    for at, (pair, result) in enumerate(zip(pairs, raw, strict=True)):
        if not math.isnan(result.p):
            first.setdefault(at if pair.twin is None else pair.twin, at)
    family = list(first.values())
    m = len(family)
    p_adjusted = dict(zip(family, holm([raw[at].p for at in family]), strict=True))
    reach = m and 2.0 ** (1 - max(raw[at].n for at in family)) <= ALPHA / m
    p_flip = {at: _flip(pairs[at]) for at in family} if flips and reach else {}
    p_flip = dict(zip(p_flip, holm(list(p_flip.values())), strict=True))
    steps = {at: m - sum(raw[other].p < raw[at].p for other in family) for at in family}
    results = []
    for at, (pair, result) in enumerate(zip(pairs, raw, strict=True)):
        leader = first.get(at if pair.twin is None else pair.twin)
        if leader is None or math.isnan(result.p):
            results.append(result)
            continue
        told = p_adjusted[leader] <= ALPHA
        # Holm compares p with ALPHA / (m - i) after i rejections; Bonferroni always with ALPHA / m.
        share = m if not told or raw[leader].p <= ALPHA / m else steps[leader]
        low, high = _interval(result, pair.grain, 1 - ALPHA / share)
        up = (result.difference < 0) if pair.lower_is_better else (result.difference > 0)
        enough = 2.0 ** (1 - result.n) <= ALPHA / m
        results.append(
            replace(
                result,
                low=low,
                high=high,
                p_adjusted=p_adjusted[leader],
                p_flip=p_flip[leader] if leader in p_flip and enough else math.nan,
                level=1 - ALPHA / share,
                verdict=("better" if up else "worse") if told else result.verdict,
            )
        )
    return results


def holm(p: Sequence[float]) -> list[float]:
    """Return p corrected over their family by Holm's step-down procedure (Holm 1979), in the order given."""
    order = sorted(range(len(p)), key=lambda at: p[at])
    adjusted = [0.0] * len(p)
    highest = 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[at]))
        adjusted[at] = highest
    return adjusted


def flips_reach(comparisons: int) -> int:
    """Return the seeds from which a sign-flip test can reach the level ALPHA / comparisons: 2 / 2^n at best."""
    return math.ceil(1 + math.log2(comparisons / ALPHA) - 1e-12)


def _test(pair: Pair) -> Result:
    seeds = pair.seeds
    ours = np.array([pair.ours[seed] for seed in seeds])
    theirs = np.array([pair.theirs[seed] for seed in seeds])
    n = len(seeds)
    sd = float(np.std(ours - theirs, ddof=1)) if n > 1 else math.nan
    blank = Result(
        n=n,
        difference=float(np.mean(ours - theirs)) if n else math.nan,
        sd=0.0 if sd < _NOISE else sd,
        low=math.nan,
        high=math.nan,
        p=math.nan,
        p_adjusted=math.nan,
        p_flip=math.nan,
        level=math.nan,
        correlation=_correlation(ours, theirs),
        verdict=f"not distinguishable at n = {n}",
        seeds=tuple(seeds),
    )
    if pair.same:
        return replace(blank, difference=0.0, sd=math.nan, correlation=math.nan, verdict=SAME)
    if abs(blank.difference) < _NOISE:
        blank = replace(blank, difference=0.0)
    if n < LEAST:
        return blank
    error = _error(blank, pair.grain)
    if not (error and blank.difference):
        return replace(blank, p=0.0 if blank.difference else 1.0)
    return replace(blank, p=float(2 * special.stdtr(n - 1, -abs(blank.difference) / error)))


def _error(result: Result, grain: float) -> float:
    """Return the standard error of the mean difference.

    Differences that are all alike have no spread to go by. Accuracies are whole numbers of images, so that the spread
    of rounding, grain²/12 for each of the two, stands for it.
    """
    return (result.sd or grain / math.sqrt(6)) / math.sqrt(result.n)


def _interval(result: Result, grain: float, level: float) -> tuple[float, float]:
    reach = float(special.stdtrit(result.n - 1, (1 + level) / 2)) * _error(result, grain)
    return result.difference - reach, result.difference + reach


def _correlation(ours: np.ndarray, theirs: np.ndarray) -> float:
    if len(ours) < LEAST or np.ptp(ours) < _NOISE or np.ptp(theirs) < _NOISE:
        return math.nan
    return float(np.corrcoef(ours, theirs)[0, 1])


def _flip(pair: Pair) -> float:
    differences = np.array([pair.ours[seed] - pair.theirs[seed] for seed in pair.seeds])
    test = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", vectorized=True, n_resamples=_FLIPS, rng=0
    )
    return float(test.pvalue)
