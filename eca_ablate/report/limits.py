"""Where an axis begins and ends, so that one failure does not press all other points into a line."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal, NamedTuple


class Limits(NamedTuple):
    """The values that an axis shows.

    Args:
        low: the smallest one.
        high: the largest one.
        extend: whether bad values lie beyond: below (`min`), above (`max`) or nowhere (`neither`).
    """

    low: float
    high: float
    extend: Literal["min", "max", "neither"]

    def clip(self, value: float) -> float:
        """Return the value, or the end it lies beyond."""
        return min(max(value, self.low), self.high)


def limits(values: Sequence[float], direction: str = "maximize", reach: float = 5) -> Limits | None:
    """Return the range of the values, without those worse than the worse quartile by `reach` times the middle half.

    Of fewer than eight values all are in. None if there is no finite value; a range of one value is given some width.
    """
    found = sorted(value for value in values if math.isfinite(value))
    if not found:
        return None
    low, high, extend = found[0], found[-1], "neither"
    if len(found) >= 8:
        first, _, third = statistics.quantiles(found, n=4, method="inclusive")
        far = reach * (third - first)
        if direction == "maximize" and low < first - far and far > 0:
            low, extend = next(value for value in found if value >= first - far), "min"
        if direction == "minimize" and high > third + far and far > 0:
            high, extend = next(value for value in reversed(found) if value <= third + far), "max"
    if high - low < 1e-9 * max(1.0, abs(high)):
        half = 0.01 * max(1.0, abs(high))
        low, high = low - half, high + half
    return Limits(low, high, extend)  # type: ignore[arg-type]
