"""Errors a user can mend. Each states the invariant, the values received and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake outside the program; the command line prints its message alone, without a traceback.

    Args:
        message: names of files that are no Unicode are written in escapes, so that it can be printed and stored.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.encode("utf-8", "backslashreplace").decode())


class ConfigError(UserError):
    """A value of an experiment file or override that cannot be used.

    Args:
        path: the dotted key, for example `recipe.epochs` or `heads[3].kernel_size`.
        message: the invariant, the value received and the way out.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


class DataError(UserError):
    """A data set that is absent, altered or unreadable; the message names the file or folder."""


def one_of(kind: str, value: object, allowed: Iterable[str]) -> str:
    """Say that `value` is no known `kind`, list those that are, and guess at the spelling."""
    names = list(allowed)
    near = difflib.get_close_matches(str(value), names, n=1)
    guess = f" (did you mean `{near[0]}`?)" if near else ""
    return f"unknown {kind} {value!r}{guess}; known: {', '.join(names)}"
