"""Training loops that take turns: each a process of its own, which sleeps while it is not its turn."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

import record
import timing

REST = 0.5  # seconds before a turn, in which the loader of the one before fills its queue


class Turns:
    """Trains `chunk` steps whenever a line comes in, and answers with the seconds they took."""

    def __init__(self, chunk: int) -> None:
        self._chunk, self._steps, self._began = chunk, 0, 0.0
        self._answers = os.fdopen(os.dup(1), "w", buffering=1)  # whatever becomes of standard output

    def step(self) -> None:
        """Note that a step begins; where a turn ends, wait for the next."""
        if self._steps % self._chunk == 0:
            timing.synchronise()
            self._answers.write(f"{time.perf_counter() - self._began if self._steps else 'ready'}\n")
            if not sys.stdin.readline():
                os._exit(0)  # no epoch is to be finished
            self._began = time.perf_counter()
        self._steps += 1


class Loop:
    """A process that trains in one way, a turn at a time.

    Args:
        command: starts it; it calls `Turns.step` before every step.
        tuned: whether its allocator is.
        log: for its standard error.
    """

    def __init__(self, command: Sequence[str], tuned: bool, log: IO[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | ({} if tuned else {record.AS_IT_IS: "1"}),
        )

    def ready(self) -> None:
        """Wait until it is about to take its first step."""
        if self._line() != "ready":
            raise RuntimeError("a loop did not begin")

    def _line(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.strip()
            if text == "ready" or text.replace(".", "", 1).replace("e-", "", 1).isdigit():
                return text
        raise RuntimeError(f"a loop ended with exit code {self._process.wait()}")

    def turn(self) -> float:
        """Train a turn; return its seconds."""
        time.sleep(REST)
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._line())

    def end(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()


@contextlib.contextmanager
def loops(commands: Mapping[str, tuple[Sequence[str], bool]]) -> Iterator[dict[str, Loop]]:
    """Start a process for every command, given with whether its allocator is tuned, and wait until all are ready."""
    with tempfile.TemporaryFile("w+") as log, contextlib.ExitStack() as stack:
        started: dict[str, Loop] = {}
        try:
            for way, (command, tuned) in commands.items():
                started[way] = Loop(command, tuned, log)
                stack.callback(started[way].end)
            for loop in started.values():
                loop.ready()
        except RuntimeError:
            log.seek(0)
            sys.stderr.write(log.read()[-4000:])
            raise
        yield started
