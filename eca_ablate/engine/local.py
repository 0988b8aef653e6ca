"""Worker processes on this machine, supervised: one that dies is replaced, and its run waits again."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import IO

from eca_ablate import allocator
from eca_ablate.engine.job import TICK, Event, Job
from eca_ablate.errors import UserError

PATIENCE_SECONDS = 20
TICK_SECONDS = 2.0
REPLACEMENTS = 5  # a worker; more deaths than that in a row, without a run finished in between, are no accident


def run_local(job: Job, workers: int, on_event: Callable[[Event], None]) -> None:
    """Work until the study has nothing to do.

    A stop (any exception, so Ctrl-C and SIGTERM too) lets the workers put their runs back; a second one kills them.

    Args:
        job: for every worker.
        workers: processes.
        on_event: called in this thread with what the workers report.

    Raises:
        UserError: if workers keep dying, with the last words of one.
    """
    events: queue.SimpleQueue[tuple[int, Event | None]] = queue.SimpleQueue()
    crew = {number: _Worker(number, job, events) for number in range(workers)}
    deaths = 0
    try:
        while crew:
            try:
                number, event = events.get(timeout=TICK_SECONDS)
            except queue.Empty:
                on_event(TICK)
                continue
            if event is not None:
                deaths = 0 if event.kind in ("end", "failed") else deaths
                crew[number].last = event
                if event.kind != "died":  # it says why; the end of the process will say that
                    on_event(event)
                continue
            worker = crew.pop(number)
            code, last_words = worker.end()
            if code != 0:
                deaths += 1
                if deaths > REPLACEMENTS * workers:
                    raise UserError(f"workers keep ending with exit code {code}; the last one said:\n{last_words}")
                if worker.last is not None and worker.last.kind not in ("end", "failed"):
                    why = worker.last.note if worker.last.kind == "died" else f"its worker {how(code)}"
                    on_event(replace(worker.last, kind="died", note=why))
                crew[number] = _Worker(number, job, events)
    finally:
        try:
            for worker in crew.values():
                worker.stop()
            for worker in crew.values():
                worker.end()
        except BaseException:
            for worker in crew.values():
                worker.kill()
            raise


def how(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


class _Worker:
    def __init__(self, number: int, job: Job, events: queue.SimpleQueue[tuple[int, Event | None]]) -> None:
        self.last: Event | None = None
        self._log: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "eca_ablate.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment(job.threads),
            start_new_session=True,
        )
        assert self.process.stdin is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(job.to_json() + "\n")
            self.process.stdin.flush()
        threading.Thread(target=self._listen, args=(number, events), daemon=True).start()

    def _listen(self, number: int, events: queue.SimpleQueue[tuple[int, Event | None]]) -> None:
        assert self.process.stdout is not None  # noqa: S101
        with self.process.stdout as lines:
            for line in lines:
                event = Event.from_json(line)
                if event is not None:
                    events.put((number, event))
        events.put((number, None))

    def stop(self) -> None:
        """Ask it to put its run back and end."""
        self.process.terminate()

    def kill(self) -> None:
        """End it now, and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> tuple[int, str]:
        """Wait for its end, and force it after a while; return its exit code and the end of what it wrote."""
        try:
            code = self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self.process.wait()
        assert self.process.stdin is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        with self._log as log:
            log.seek(0)
            return code, log.read()[-2000:].strip()


def environment(threads: int) -> dict[str, str]:
    """Return a worker's environment: threads of a run, and an allocator that keeps large blocks.

    What the user has set stays.
    """
    ours = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        **allocator.ENVIRONMENT,
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **{name: value for name, value in ours.items() if name not in os.environ}}
