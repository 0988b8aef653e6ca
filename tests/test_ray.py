"""Workers on a real Ray cluster of this machine: stopped, killed, and without Ray."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from eca_ablate.engine import Event, Job, run_ray
from eca_ablate.errors import UserError
from eca_ablate.report import load
from eca_ablate.storage import storage_url
from eca_ablate.study import RunsStudy

EXPERIMENT = """
data: {name: digits}
backbone: {name: resnet20, width: 0.25}
recipe: {epochs: 4, batch_size: 64}
seeds: 2
heads: [none, {name: eca, kernel_size: 3}]
"""
ENVIRONMENT = {
    **os.environ,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster that was there before the command, with room for two workers."""
    program = "import ray, sys; c = ray.init(address='local', num_cpus=2, include_dashboard=False, log_to_driver=False)"
    program += "; print(c.address_info['gcs_address'], flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.communicate("")


def start(folder: Path, cluster: str) -> subprocess.Popen[str]:
    file = folder / "little.yaml"
    file.write_text(EXPERIMENT)
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "eca_ablate.cli", "run", str(file), "--out", str(folder / "out")),
            *("--engine", "ray", "--address", cluster),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
    )


def study(folder: Path) -> RunsStudy:
    return RunsStudy(storage_url(folder / "out"), folder / "out")


def at_work(folder: Path) -> int:
    if not (folder / "out" / "study.db").exists():
        return 0
    trials = study(folder)._study.get_trials(states=(TrialState.RUNNING,))
    return sum("worker" in trial.user_attrs for trial in trials)


def wait_until(met: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not met():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.2)


def places() -> list[int]:
    """Return the processes in which Ray supervises our workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_work"):
                found.append(int(path.parent.name))
        except OSError:
            continue  # ended meanwhile
    return found


def assert_complete(folder: Path) -> None:
    trials = study(folder)._study.get_trials()
    complete = [trial.user_attrs["key"] for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == len(set(complete)) == 4
    assert not [trial for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    assert len(load(folder / "out")) == 4


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="the processes are found in /proc")
def test_a_ray_worker_that_is_killed_is_replaced_and_its_run_is_done_by_another(tmp_path: Path, cluster: str) -> None:
    process = start(tmp_path, cluster)
    wait_until(lambda: at_work(tmp_path) > 0, process)
    for place in places():
        os.kill(place, signal.SIGKILL)
    words, _ = process.communicate(timeout=200)
    assert process.returncode == 0, words
    assert_complete(tmp_path)
    failed = study(tmp_path)._study.get_trials(states=(TrialState.FAIL,))
    assert failed, "the run of one that was killed was put back"


@pytest.mark.slow
def test_a_plan_on_a_cluster_is_stopped_and_goes_on(tmp_path: Path, cluster: str) -> None:
    process = start(tmp_path, cluster)
    wait_until(lambda: at_work(tmp_path) > 0, process)
    process.send_signal(signal.SIGTERM)
    words, _ = process.communicate(timeout=60)
    assert process.returncode == 143, words
    assert at_work(tmp_path) == 0
    process = start(tmp_path, cluster)
    words, _ = process.communicate(timeout=200)
    assert process.returncode == 0, words
    assert_complete(tmp_path)


def job(folder: Path) -> Job:
    return Job(storage_url(folder), str(folder), None, 1)


def nothing(event: Event) -> None:
    raise AssertionError(json.dumps(event.kind))


def test_an_address_where_nobody_answers_is_said_soon(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=r"no Ray cluster answers at '127.0.0.1:1': .*refused; check `--address`"):
        run_ray(job(tmp_path), 1, nothing, most=1, address="127.0.0.1:1")


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'eca_ablate\[ray\]'"):
        run_ray(job(tmp_path), 1, nothing, most=1)
