"""The allocator keeps large blocks where the C library can be told so, and is left alone where it cannot."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from eca_ablate import allocator
from eca_ablate.doctor import examine

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")


def in_a_fresh_process(program: str, **environment: str) -> list[str]:
    bare = {name: value for name, value in os.environ.items() if name not in allocator.ENVIRONMENT}
    done = subprocess.run(
        [sys.executable, "-c", f"from eca_ablate import allocator\n{program}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**bare, **environment},
    )
    return done.stdout.split()


@glibc
def test_tuned_in_the_process_it_keeps_large_blocks() -> None:
    program = "print(allocator.keeps_large_blocks(), allocator.tune(), allocator.keeps_large_blocks())"
    assert in_a_fresh_process(program) == ["False", "True", "True"]


@glibc
def test_the_environment_does_the_same_before_a_process_begins() -> None:
    assert in_a_fresh_process("print(allocator.keeps_large_blocks())", **allocator.ENVIRONMENT) == ["True"]


@glibc
def test_what_the_user_has_set_stays() -> None:
    program = "print(allocator.tune(), allocator.keeps_large_blocks())"
    assert in_a_fresh_process(program, MALLOC_MMAP_MAX_="65536") == ["True", "False"]


def test_where_it_cannot_be_set_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator.tune() is False


@glibc
def test_the_doctor_shows_what_it_came_to() -> None:
    shown = examine()["facts"]["allocator"]
    assert shown["tuned"] is True
    assert shown["keeps_large_blocks"] is True
