"""Stops and deaths of real processes: the table afterwards is the one of a run that nothing happened to."""

from __future__ import annotations

import os
import pty
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import torch
from optuna.trial import TrialState
from processes import children, command, finish, states, trials, wait_for, workers_at_work

from eca_ablate.report import load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for child processes in /proc"),
]
EXPERIMENT = """
data: {name: digits}
backbone: {name: resnet20, width: 0.25}
recipe: {epochs: 4, batch_size: 64, precision: fp32}
seeds: 4
heads: [none, eca]
"""
RUNS = 8
TIMES = ["seconds", "images_per_second", "finished_at"]
KEEP = ("--keep-weights", "--checkpoint-seconds", 0.3)


def place(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "e.yaml").write_text(EXPERIMENT)
    return folder


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of the experiment when nothing happens."""
    folder = place(tmp_path_factory.mktemp("calm"))
    code, _, err = finish(command("run", "e.yaml", "--workers", 2, *KEEP, cwd=folder))
    assert code == 0, err
    return folder / "results" / "e"


def assert_same(folder: Path, calm: Path) -> None:
    """The rows and the weights are those of the calm results, every run is there once, and nothing is left over."""
    ours, theirs = (load(results).drop(columns=TIMES) for results in (folder, calm))
    pd.testing.assert_frame_equal(ours, theirs)
    for path in (calm / "weights").iterdir():
        kept, wanted = (
            torch.load(file, weights_only=True)["state_dict"] for file in (folder / "weights" / path.name, path)
        )
        assert all(torch.equal(kept[name], value) for name, value in wanted.items())
    done = Counter(trial.user_attrs["key"] for trial in trials(folder, TrialState.COMPLETE))
    assert sorted(done) == sorted(theirs["key"])
    assert set(done.values()) == {1}
    assert not trials(folder, TrialState.RUNNING, TrialState.WAITING)
    assert list((folder / "checkpoints").iterdir()) == []


def test_ten_kills_at_random_moments_leave_no_trace(calm: Path, tmp_path: Path) -> None:
    folder = place(tmp_path) / "results" / "e"
    sample = random.Random(1)
    process = command("run", "e.yaml", "--workers", 3, *KEEP, cwd=tmp_path)
    wait_for(lambda: len(workers_at_work(folder)) > 0, process)
    for _ in range(10):
        time.sleep(sample.uniform(0.0, 1.5))
        victims: list[int] = []
        wait_for(lambda found=victims: bool(found.extend(children(process.pid)) or found), process)
        os.kill(sample.choice(victims), signal.SIGKILL)
    code, _, err = finish(process)
    assert code == 0, err
    assert "Traceback" not in err
    assert_same(folder, calm)
    assert TrialState.FAIL in states(folder)  # some of the kills met a run at work


def checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("*.ckpt"))


def test_stops_a_move_and_a_power_cut_leave_no_trace(calm: Path, tmp_path: Path) -> None:
    """SIGTERM to everything; the folder moves; files are cut short; Ctrl-C twice in a terminal; and on to the end."""
    folder = place(tmp_path / "here") / "results" / "e"
    process = command("run", "e.yaml", "--workers", 2, *KEEP, cwd=tmp_path / "here")
    wait_for(lambda: len(checkpoints(folder)) > 0 and (folder / "runs.csv").exists(), process)
    theirs = children(process.pid)
    began = time.monotonic()
    for pid in (process.pid, *theirs):
        os.kill(pid, signal.SIGTERM)
    code, out, err = finish(process)
    assert time.monotonic() - began < 25
    assert (code, out) == (143, ""), err
    assert err.splitlines()[-1].endswith("the same command goes on from here")
    assert "Traceback" not in err
    assert not [pid for pid in theirs if Path(f"/proc/{pid}").exists()]
    assert TrialState.RUNNING not in states(folder)
    assert set(states(folder)) == {TrialState.COMPLETE, TrialState.FAIL, TrialState.WAITING}

    there = tmp_path / "there"
    shutil.copytree(tmp_path / "here", there)
    shutil.rmtree(tmp_path / "here")
    folder = there / "results" / "e"
    cut = [path for path in checkpoints(folder) if "previous" not in path.name]
    assert cut  # a stop saves what is in hand
    for path in (*cut, folder / "runs.csv"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    terminal, end = pty.openpty()
    process = command("run", "e.yaml", "--workers", 2, *KEEP, cwd=there, stdout=subprocess.DEVNULL, stderr=end)
    os.close(end)
    with ThreadPoolExecutor() as reader:
        reading = reader.submit(read_all, terminal)  # a terminal that nobody reads is full before long
        wait_for(lambda: len(workers_at_work(folder)) > 0, process)
        theirs = children(process.pid)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert process.wait(10) == 130
        shown = reading.result()
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") > -1  # the cursor is back
    assert "Traceback" not in shown
    wait_until_gone(theirs)

    code, _, err = finish(command("run", "e.yaml", "--workers", 2, *KEEP, cwd=there))
    assert code == 0, err
    assert "is cut short or altered" in shown + err
    assert_same(folder, calm)


def wait_until_gone(processes: list[int]) -> None:
    began = time.monotonic()
    while any(Path(f"/proc/{pid}").exists() for pid in processes):
        assert time.monotonic() - began < 25
        time.sleep(0.1)


def read_all(terminal: int) -> str:
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other end is closed
            part = b""
        if not part:
            os.close(terminal)
            return shown.decode(errors="replace")
        shown += part


def test_two_people_who_start_the_same_at_once_share_the_work(calm: Path, tmp_path: Path) -> None:
    both = [command("run", "e.yaml", "--workers", 1, *KEEP, cwd=place(tmp_path)) for _ in range(2)]
    for process in both:
        code, out, err = finish(process)
        assert code == 0, err
        assert out.startswith("| Method")
    assert_same(tmp_path / "results" / "e", calm)
    assert Counter(states(tmp_path / "results" / "e")) == {TrialState.COMPLETE: RUNS}


def test_workers_do_not_outlive_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    folder = place(tmp_path) / "results" / "e"
    process = command("run", "e.yaml", "--workers", 1, "--recipe.epochs", 200, cwd=tmp_path)
    wait_for(lambda: len(workers_at_work(folder)) > 0, process)
    theirs = children(process.pid)
    process.kill()
    finish(process)
    wait_until_gone(theirs)
    assert TrialState.RUNNING not in states(folder)
