"""The study: a queue that enqueues nothing twice, and a ledger that loses nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from little import little
from optuna.trial import TrialState

from eca_ablate.checkpoint import PutBack
from eca_ablate.config import BackboneConfig, Experiment, RunConfig
from eca_ablate.engine import Job
from eca_ablate.errors import UserError
from eca_ablate.plan import Plan, make_plan
from eca_ablate.report import load, load_curves
from eca_ablate.storage import storage_url
from eca_ablate.study import RunsStudy, differences, export

TESTS = Path(__file__).parent


def study_in(folder: Path) -> RunsStudy:
    return RunsStudy(storage_url(folder), folder)


def planned(study: RunsStudy, experiment: Experiment | None = None) -> Plan:
    plan = make_plan(experiment or little())
    study.add(plan)
    return plan


def trials(folder: Path, *states: TrialState) -> list[Any]:
    study = optuna.load_study(study_name="runs", storage=storage_url(folder))
    return study.get_trials(states=states or None)


def keys(plan: Plan) -> list[str]:
    return [run.config.key() for run in plan.runs]


def keys_in(folder: Path, *states: TrialState) -> list[str]:
    return [trial.user_attrs["key"] for trial in trials(folder, *states)]


class Execute:
    """Stands for training: notes what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, config: RunConfig, trial: optuna.Trial) -> dict[str, Any]:
        self.asked.append(config.key())
        assert trial.user_attrs["key"] == config.key()
        return {"key": config.key(), "val_top1": 50.0, "attempt": len(self.asked)}


def test_runs_wait_in_the_order_of_the_plan_and_each_is_done_once(tmp_path: Path) -> None:
    study, execute = study_in(tmp_path), Execute()
    plan = planned(study, little(seeds=2))
    assert keys_in(tmp_path, TrialState.WAITING) == keys(plan)
    study.work(execute)
    assert execute.asked == keys(plan)
    assert list(study.rows()) == keys(plan)
    study.work(execute)
    planned(study, little(seeds=2))
    study.work(execute)
    assert len(execute.asked) == 4


def test_adding_twice_enqueues_nothing_twice(tmp_path: Path) -> None:
    for _ in range(2):
        plan = planned(study_in(tmp_path))
    assert keys_in(tmp_path) == keys(plan)


def test_more_heads_and_seeds_extend_it(tmp_path: Path) -> None:
    study, execute = study_in(tmp_path), Execute()
    planned(study)
    study.work(execute)
    larger = planned(study, little(seeds=[0, 5], heads=["none", "eca", {"name": "eca", "kernel_size": 3}]))
    study.work(execute)
    assert sorted(execute.asked) == sorted(keys(larger))
    planned(study)  # fewer: nothing is lost
    assert set(keys(larger)) == set(study.rows())


def test_what_only_waits_is_forgotten_when_it_is_planned_no_more(tmp_path: Path) -> None:
    study, execute = study_in(tmp_path), Execute()
    planned(study, little(seeds=3))
    plan = planned(study)
    study.work(execute)
    assert execute.asked == keys(plan)
    assert set(study.failures().values()) == {"no longer planned"}
    again = planned(study, little(seeds=3))
    study.work(execute)
    assert sorted(execute.asked) == sorted(keys(again))
    assert study.failures() == {}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"lr": 0.2}, "recipe.lr: 0.1 there, 0.2 here"),
        ({"backbone": BackboneConfig("resnet20")}, "backbone.width: 0.25 there, 1.0 here"),
        ({"threads": 2}, "threads: 1 there, 2 here"),
        ({"data": replace(little().data, fraction=0.5)}, "data.fraction: 1.0 there, 0.5 here"),
    ],
)
def test_another_experiment_is_refused_with_the_difference(tmp_path: Path, change: dict[str, Any], line: str) -> None:
    study = study_in(tmp_path)
    planned(study)
    before = keys_in(tmp_path)
    with pytest.raises(UserError) as error:
        planned(study, little(**change))
    assert "belongs to another experiment" in str(error.value)
    assert line in str(error.value)
    assert str(error.value).count(" there, ") == 1
    assert "--out DIR" in str(error.value)
    assert keys_in(tmp_path) == before


def test_differences_are_named_by_their_path() -> None:
    assert differences({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": 5}) == [
        "a.c: 2 there, 4 here",
        "d: 3 there, None here",
        "e: None there, 5 here",
    ]


def test_a_trial_without_a_key_is_put_away(tmp_path: Path) -> None:
    study, execute = study_in(tmp_path), Execute()
    plan = planned(study)
    optuna.load_study(study_name="runs", storage=storage_url(tmp_path)).enqueue_trial({})
    study.work(execute)
    assert execute.asked == keys(plan)
    assert [trial.user_attrs for trial in trials(tmp_path, TrialState.PRUNED)] == [{}]


def test_the_first_finished_trial_of_a_key_counts(tmp_path: Path) -> None:
    study, execute = study_in(tmp_path), Execute()
    plan = planned(study)
    study.work(execute)
    raw = optuna.load_study(study_name="runs", storage=storage_url(tmp_path))
    first = trials(tmp_path)[0]
    raw.add_trial(
        optuna.trial.create_trial(
            value=1.0, user_attrs={**first.user_attrs, "row": {**first.user_attrs["row"], "attempt": 99}}
        )
    )
    raw.enqueue_trial({}, user_attrs={name: first.user_attrs[name] for name in ("key", "config", "label")})
    study.work(execute)
    assert study.rows()[keys(plan)[0]]["attempt"] == 1
    assert execute.asked == keys(plan)


def test_a_run_that_fails_says_why_and_the_next_command_tries_it_again(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    plan = planned(study)
    broken, fine = keys(plan)

    def execute(config: RunConfig, trial: optuna.Trial) -> dict[str, Any]:
        if config.key() == broken:
            raise OSError("the disk is full")
        return {"key": config.key(), "val_top1": 50.0}

    study.work(execute)
    assert list(study.rows()) == [fine]
    assert study.failures() == {broken: "OSError: the disk is full"}
    planned(study)
    assert study.failures() == {}
    assert keys_in(tmp_path, TrialState.WAITING) == [broken]
    study.work(Execute())
    assert set(study.rows()) == {broken, fine}


def test_a_run_that_diverged_is_done(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    plan = planned(study)
    study.work(lambda config, _: {"key": config.key(), "val_top1": None, "status": "diverged"})
    assert set(study.rows()) == set(keys(plan))
    planned(study)
    assert not trials(tmp_path, TrialState.WAITING)


def test_a_run_that_is_put_back_waits_again(tmp_path: Path) -> None:
    study, execute = study_in(tmp_path), Execute()
    plan = planned(study)

    def stop(config: RunConfig, trial: optuna.Trial) -> dict[str, Any]:
        raise PutBack

    with pytest.raises(PutBack):
        study.work(stop)
    assert not trials(tmp_path, TrialState.RUNNING)
    assert sorted(keys_in(tmp_path, TrialState.WAITING)) == sorted(keys(plan))
    assert study.failures() == {}
    study.work(execute)
    assert sorted(execute.asked) == sorted(keys(plan))


def test_rows_are_exported_with_what_the_experiment_says(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    plan = planned(study, little(heads=["none", "eca_ns", {"name": "eca_ns", "kernel_size": 3, "label": "other"}]))
    study.work(
        lambda config, _: {
            "key": config.key(),
            "network": config.network(),
            "seed": 0,
            "status": "diverged",
            "val_top1": None,
            "curve": [{"epoch": 1, "lr": 0.1, "val_top1": 10.0}],
        }
    )
    assert all("curve" not in row for row in study.rows().values())
    export(tmp_path, plan.runs, study, "name")
    rows = load(tmp_path)
    assert list(rows["label"]) == ["Vanilla", "ECA-NS", "other"]
    assert set(rows["experiment"]) == {"name"}
    assert list(rows["shared"]) == [False, False, True]
    curves = load_curves(tmp_path)
    assert list(curves["label"]) == ["Vanilla", "ECA-NS", "other"]
    assert set(curves["val_top1"]) == {10.0}


ADD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from little import little
from eca_ablate.plan import make_plan
from eca_ablate.storage import storage_url
from eca_ablate.study import RunsStudy
plan = make_plan(little(seeds=20))
print("ready", flush=True)
sys.stdin.readline()
folder = Path(sys.argv[2])
RunsStudy(storage_url(folder), folder).add(plan)
"""


@pytest.mark.slow
def test_two_processes_that_add_at_once_enqueue_nothing_twice(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ADD, str(TESTS), str(tmp_path)]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert sorted(keys_in(tmp_path)) == sorted(keys(make_plan(little(seeds=20))))


def worker(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "eca_ablate.engine.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(Job(storage_url(folder), str(folder), None, 1).to_json() + "\n")
    process.stdin.flush()
    return process


def events_until(process: subprocess.Popen[str], kind: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["kind"] == kind:
            return
    raise AssertionError(f"the worker ended before it said {kind}")


@pytest.mark.slow
def test_the_run_of_a_killed_worker_is_done_by_another(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    plan = planned(study, little(epochs=3))
    victim, heir = worker(tmp_path), worker(tmp_path)
    events_until(victim, "epoch")
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert heir.stdout is not None
    heir.stdout.read()  # its input stays open: it would stop otherwise
    assert heir.wait(120) == 0
    heir.communicate()
    assert set(study.rows()) == set(keys(plan))
    assert sorted(keys_in(tmp_path, TrialState.COMPLETE)) == sorted(keys(plan))
    assert len(trials(tmp_path, TrialState.FAIL)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("stop", ["terminate", "close the input"])
def test_a_worker_that_is_stopped_puts_its_run_back(tmp_path: Path, stop: str) -> None:
    study = study_in(tmp_path)
    plan = planned(study, little(heads=["none"], epochs=200))
    process = worker(tmp_path)
    events_until(process, "epoch")
    began = time.monotonic()
    if stop == "terminate":
        process.terminate()
    else:
        assert process.stdin is not None
        process.stdin.close()  # as the system does when the supervisor is gone
    assert process.wait(30) == 143
    assert time.monotonic() - began < 15
    assert process.stdout is not None
    process.stdout.close()
    if process.stdin is not None:
        process.stdin.close()
    assert not trials(tmp_path, TrialState.RUNNING)
    assert keys_in(tmp_path, TrialState.WAITING) == keys(plan)
    assert study.rows() == {}


@pytest.mark.parametrize(
    "url", ["nonsense", "sqlite:////proc/absent/study.db", "mysterious://host/db", "postgresql://nobody@127.0.0.1:1/x"]
)
def test_a_storage_that_cannot_be_opened_is_a_mistake_of_the_users(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="storage"):
        RunsStudy(url, tmp_path)


def test_a_file_that_is_no_study_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("my notes, long enough to be no empty file" * 40)
    before = (tmp_path / "study.db").read_bytes()
    with pytest.raises(UserError, match="storage"):
        study_in(tmp_path)
    assert (tmp_path / "study.db").read_bytes() == before
