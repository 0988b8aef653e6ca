"""Calls of a storage whose connections are cut, or which cannot be opened at all."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psycopg
import pytest
from little import little
from optuna.trial import TrialState
from server import PASSWORD, USER, Server

from eca_ablate.errors import UserError
from eca_ablate.plan import make_plan
from eca_ablate.storage import StudyLock, hide_password, patience, read_url, storage_url
from eca_ablate.study import RunsStudy

CUT = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'eca-ablate'"


def test_connections_that_are_cut_at_any_moment_do_no_harm(tmp_path: Path, postgresql: Server) -> None:
    study = RunsStudy(postgresql.create_database("cut"), tmp_path)
    plan = make_plan(little(seeds=10))
    study.add(plan)
    over, cuts = threading.Event(), 0

    def cut() -> None:
        nonlocal cuts
        with psycopg.connect(postgresql.url(), autocommit=True) as connection:
            while not over.wait(0.03):
                cuts += connection.execute(CUT).fetchone()[0]  # type: ignore[index]

    knife = threading.Thread(target=cut)
    knife.start()
    try:
        for step in range(12):
            study._study.set_user_attr("step", step)
            assert study._study.user_attrs["step"] == step
            assert len(study._study.get_trials()) == 20
    finally:
        over.set()
        knife.join()
    assert cuts >= 5
    study.work(lambda config, _: {"key": config.key(), "val_top1": 50.0})
    assert sorted(study.rows()) == sorted(run.config.key() for run in plan.runs)


def test_the_patience_ends(tmp_path: Path, postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    study = RunsStudy(postgresql.create_database("patience"), tmp_path)
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 1)
    postgresql.stop()
    try:
        with pytest.raises(UserError, match="has not answered for 1 s; the same command goes on when it is back"):
            study.binding()
    finally:
        postgresql.start()
    assert study.binding() is None


def test_a_lock_keeps_two_machines_apart(tmp_path: Path, postgresql: Server) -> None:
    url = postgresql.create_database("lock")
    one, other = (StudyLock(url, tmp_path / folder, "name") for folder in ("one", "other"))
    stranger = StudyLock(url, tmp_path / "one" / "x", "another name")
    held = threading.Event()

    def wait() -> None:
        with other:
            held.set()

    with one, one:  # may be taken again by its holder
        waiter = threading.Thread(target=wait)
        waiter.start()
        with stranger:
            assert not held.wait(0.3)
    waiter.join(10)
    assert held.is_set()


def test_a_run_that_is_queued_twice_is_done_once(tmp_path: Path) -> None:
    study = RunsStudy(storage_url(tmp_path), tmp_path)
    plan = make_plan(little(seeds=1, heads=["none"]))
    study.add(plan)
    trial = study._study.get_trials()[0]
    study._study.enqueue_trial({}, user_attrs=trial.user_attrs)
    begun = []
    study.work(lambda config, _: begun.append(config.key()) or {"key": config.key(), "val_top1": 50.0})
    assert begun == [trial.user_attrs["key"]]


def test_a_claim_without_a_claimant_waits_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = RunsStudy(storage_url(tmp_path), tmp_path)
    plan = make_plan(little(seeds=1, heads=["none"]))
    study.add(plan)
    study._study._pop_waiting_trial_id()  # killed before it noted who it is, and before its first heartbeat
    monkeypatch.setattr("eca_ablate.storage.opening.GRACE_SECONDS", 1)
    began = time.monotonic()
    study.work(lambda config, _: {"key": config.key(), "val_top1": 50.0})
    assert 1 <= time.monotonic() - began < 30
    assert list(study.rows()) == [plan.runs[0].config.key()]


def test_a_run_whose_rescuer_died_waits_again(tmp_path: Path) -> None:
    study = RunsStudy(storage_url(tmp_path), tmp_path)
    plan = make_plan(little(seeds=1, heads=["none"]))
    study.add(plan)
    trial_id = study._study._pop_waiting_trial_id()
    study._storage.set_trial_state_values(trial_id, TrialState.FAIL)  # and was not enqueued again
    study.work(lambda config, _: {"key": config.key(), "val_top1": 50.0})
    assert list(study.rows()) == [plan.runs[0].config.key()]


@pytest.mark.parametrize("part", ["password", "port", "database"])
def test_why_a_server_cannot_be_used_is_said_without_its_password(
    tmp_path: Path, postgresql: Server, part: str
) -> None:
    wrong = {"password": {"password": "wr0ng{}%/"}, "port": {"port": 1}, "database": {"database": "absent"}}[part]
    url = read_url(postgresql.url()).set(**wrong).render_as_string(hide_password=False)
    began = time.monotonic()
    with pytest.raises(UserError, match=r"cannot open the storage of the study: .*; check `--storage URL`") as error:
        RunsStudy(url, tmp_path)
    assert time.monotonic() - began < 10
    assert error.value.__cause__ is None
    for secret in (PASSWORD, "wr0ng", "s3cret"):
        assert secret not in str(error.value)
    assert {"password": USER, "port": "refused", "database": "absent"}[part] in str(error.value)


@pytest.mark.parametrize(
    "url",
    ["postgresql//eca:s3cret@host/db", "postgresql://eca:s3cret@host:x/db"],
)
def test_a_url_that_cannot_be_read_is_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="must be a URL such as") as error:
        RunsStudy(url, tmp_path)
    assert "s3cret" not in str(error.value)
    assert error.value.__suppress_context__


def test_a_password_is_hidden_however_it_is_written() -> None:
    url = read_url("postgresql://eca:a%2Fb%20c@host/db?password=other")
    assert hide_password("a/b c, a%2Fb%20c, a%2Fb+c, other", url) == "***, ***, ***, ***"
