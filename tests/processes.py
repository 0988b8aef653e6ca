"""The command line in processes of its own: starting it, watching it, and what it left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState


def command(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start the command in a process group of its own, as a terminal would."""
    return subprocess.Popen(
        [sys.executable, "-m", "eca_ablate.cli", *map(str, arguments)],
        **{
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "stdin": subprocess.DEVNULL,
            "text": True,
            "start_new_session": True,
            "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
            **options,
        },
    )


def finish(process: subprocess.Popen[str], timeout: float = 200) -> tuple[int, str, str]:
    """Wait for its end; return code, output and errors."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return process.returncode, out, err


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Wait until something holds, while the process lives."""
    began = time.monotonic()
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - began < seconds
        time.sleep(0.05)


def trials(folder: Path, *states: TrialState) -> list[FrozenTrial]:
    """Return the trials of a results folder's runs study."""
    study = optuna.load_study(study_name="runs", storage=f"sqlite:///{folder / 'study.db'}")
    return study.get_trials(deepcopy=False, states=states or None)


def states(folder: Path) -> list[TrialState]:
    """Return what became of each trial."""
    return [trial.state for trial in trials(folder)]


def workers_at_work(folder: Path) -> list[int]:
    """Return the processes that have begun a run."""
    if not (folder / "tensorboard").exists():  # the first thing that a run writes
        return []
    running = trials(folder, TrialState.RUNNING)
    return [trial.user_attrs["worker"][1] for trial in running if "worker" in trial.user_attrs]


def children(process: int) -> list[int]:
    """Return the processes that a process has started, and theirs."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            found += [int(stat.parent.name), *children(int(stat.parent.name))]
    return found
