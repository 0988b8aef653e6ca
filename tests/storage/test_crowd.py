"""Eight processes on one study: no run twice, none missing, nothing left at work, whatever happens to the storage."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from crowd import Crowd
from little import little
from optuna.trial import TrialState
from server import Server

from eca_ablate.plan import Plan, make_plan
from eca_ablate.storage import storage_url
from eca_ablate.study import RunsStudy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Two heads and a hundred seeds: 200 runs."""
    return make_plan(little(seeds=100))


def part(plan: Plan, runs: int) -> Plan:
    return replace(plan, runs=plan.runs[:runs])


def wait_until(met: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.02)


def finish(process: subprocess.Popen[str], seconds: float = 120) -> None:
    words, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, words


def assert_complete(crowd: Crowd, plan: Plan) -> None:
    keys = sorted(run.config.key() for run in plan.runs)
    study = RunsStudy(crowd.url, Path(crowd.folder))
    assert sorted(study.rows()) == keys
    trials = study._study.get_trials()
    assert not [trial for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    assert sorted(trial.user_attrs["key"] for trial in trials if trial.state == TrialState.COMPLETE) == keys
    assert [trial.number for trial in trials] == list(range(len(trials)))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_eight_processes_do_200_runs_once_each(
    tmp_path: Path, request: pytest.FixtureRequest, plan: Plan, kind: str
) -> None:
    url = storage_url(tmp_path)
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql").create_database("crowd")
    RunsStudy(url, tmp_path).add(plan)
    crowd = Crowd(url, str(tmp_path))
    finish(crowd.start())
    assert_complete(crowd, plan)
    assert set(crowd.begun().values()) == {1}
    assert len(crowd.hands()) == 8


def test_a_server_that_restarts_in_the_middle_loses_and_doubles_nothing(
    tmp_path: Path, postgresql: Server, plan: Plan
) -> None:
    plan = part(plan, 60)
    crowd = Crowd(postgresql.create_database("restart"), str(tmp_path), nap=0.3)
    RunsStudy(crowd.url, tmp_path).add(plan)
    process = crowd.start()
    for done in (10, 30):
        wait_until(lambda done=done: len(crowd.begun()) >= done)
        postgresql.stop()
        time.sleep(1.5)
        postgresql.start()
    finish(process)
    assert_complete(crowd, plan)
    assert set(crowd.begun().values()) == {1}


def test_an_outage_longer_than_the_grace_of_a_heartbeat_takes_no_run_from_a_living_worker(
    tmp_path: Path, postgresql: Server, plan: Plan
) -> None:
    plan = part(plan, 8)
    crowd = Crowd(postgresql.create_database("outage"), str(tmp_path), nap=6.0, heartbeat=1, grace=3)
    RunsStudy(crowd.url, tmp_path).add(plan)
    process = crowd.start()
    wait_until(lambda: len(crowd.begun()) == 8)
    postgresql.stop()
    time.sleep(4.5)
    postgresql.start()
    finish(process)
    assert_complete(crowd, plan)
    assert set(crowd.begun().values()) == {1}


def test_the_runs_of_a_machine_that_is_gone_go_to_others(
    tmp_path: Path, postgresql: Server, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = part(plan, 12)
    url = postgresql.create_database("gone")
    RunsStudy(url, tmp_path).add(plan)
    gone = Crowd(url, str(tmp_path), processes=2, nap=600, heartbeat=1, grace=3)
    process = gone.start()
    wait_until(lambda: len(gone.begun()) == 2)
    taken = set(gone.begun())
    assert process.stdout is not None
    for child in process.stdout.readline().split()[1:]:
        os.kill(int(child), signal.SIGKILL)
    process.communicate()
    # Nothing but its heartbeat tells of a process of another machine.
    raw = RunsStudy(url, tmp_path)._study
    for trial in raw.get_trials(states=(TrialState.RUNNING,)):
        raw._storage.set_trial_user_attr(trial._trial_id, "worker", ["elsewhere", 1])
    heirs = replace(gone, processes=2, nap=0.01)
    finish(heirs.start())
    assert_complete(heirs, plan)
    assert {key for key, times in heirs.begun().items() if times == 2} == taken


def test_a_worker_that_slept_leaves_its_run_to_the_one_who_took_it(
    tmp_path: Path, postgresql: Server, plan: Plan
) -> None:
    plan = part(plan, 2)
    crowd = Crowd(postgresql.create_database("slept"), str(tmp_path), processes=2, nap=4.0, heartbeat=1, grace=3)
    RunsStudy(crowd.url, tmp_path).add(plan)
    process = crowd.start()
    wait_until(lambda: len(crowd.begun()) == 2)
    sleeper = int(crowd.lines()[0][2])
    os.kill(sleeper, signal.SIGSTOP)
    wait_until(lambda: max(crowd.begun().values()) == 2)  # as heartbeats alone can tell, its machine is gone
    os.kill(sleeper, signal.SIGCONT)
    finish(process)
    assert_complete(crowd, plan)
