"""The type checker that the tests put under signatures with named axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import beartype


def shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check calls of a function whose signature names axes; leave every other function as it is.

    Options come from a file that a user wrote, so heads check them by themselves, and the tests want to see their
    messages, not beartype's.
    """
    hints = getattr(function, "__annotations__", {}).values()
    return beartype(function) if any("Float[" in str(hint) for hint in hints) else function
