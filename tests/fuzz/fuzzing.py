"""How hard to try: a few examples in every run of the suite, and many by `ECA_ABLATE_FUZZ=50 pytest tests/fuzz`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

from eca_ablate.errors import UserError

FACTOR = int(os.environ.get("ECA_ABLATE_FUZZ", "1"))


def examples(count: int) -> Callable[[Any], Any]:
    """Try so many examples, times `ECA_ABLATE_FUZZ`; ten seconds for one would be a hang."""
    return settings(
        max_examples=count * FACTOR,
        deadline=10_000,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


def assert_clear(error: UserError) -> None:
    """A sentence or two, and no traceback."""
    words = str(error)
    assert words.strip()
    assert len(words) < 4000
    assert words.encode(), "it can be printed and stored, whatever names it has"
    assert "Traceback" not in words
