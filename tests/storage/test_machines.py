"""Two machines that share a PostgreSQL server and nothing else: real trainings, one table, and no password anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState
from server import PASSWORD, Server
from sqlalchemy import make_url

from eca_ablate.report import load
from eca_ablate.study import RunsStudy

EXPERIMENT = """
data: {name: digits}
backbone: {name: resnet20, width: 0.25}
recipe: {epochs: 1, batch_size: 64}
seeds: 2
heads: [none, {name: eca, kernel_size: 3}]
"""


def begin(home: Path, url: str) -> subprocess.Popen[bytes]:
    home.mkdir()
    (home / "little.yaml").write_text(EXPERIMENT)
    command = [sys.executable, "-m", "eca_ablate.cli", "run", "little.yaml", "--workers", "1", "--storage", url]
    return subprocess.Popen(
        command,
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "ECA_ABLATE_CACHE": str(home / "cache"), "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def arguments_of_others(commands: list[subprocess.Popen[bytes]]) -> list[bytes]:
    """Return what `ps` shows of the processes that the commands started."""
    mine = {str(command.pid).encode() for command in commands}
    shown = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = (place / "stat").read_bytes().rpartition(b")")[2].split()[1]
            if parent in mine:
                shown.append((place / "cmdline").read_bytes())
        except OSError:
            continue  # ended meanwhile
    return shown


@pytest.mark.slow
def test_two_machines_make_one_table_and_tell_no_password(tmp_path: Path, postgresql: Server) -> None:
    url = postgresql.create_database("machines")
    commands = [begin(tmp_path / name, url) for name in ("one", "other")]
    words, shown = [], []
    for command in commands:
        while True:
            try:
                said, _ = command.communicate(timeout=1)
                break
            except subprocess.TimeoutExpired:
                shown += arguments_of_others(commands)
        words.append(said)
        assert command.returncode == 0, said.decode()
    tables = [load(tmp_path / name / "results" / "little") for name in ("one", "other")]
    assert len(tables[0]) == 4
    assert tables[0].drop(columns="seconds").equals(tables[1].drop(columns="seconds"))
    study = RunsStudy(url, tmp_path / "one" / "results" / "little")
    states = [trial.state for trial in study._study.get_trials()]
    assert states.count(TrialState.COMPLETE) == 4
    assert not {TrialState.RUNNING, TrialState.WAITING} & set(states)

    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    stored = [repr(vars(trial)).encode() for trial in study._study.get_trials()]
    assert len(written) > 10
    assert any(b"eca_ablate.engine.worker" in line for line in shown)
    quoted = str(make_url(url).render_as_string(hide_password=False)).split(":")[2].partition("@")[0]
    for secret in (PASSWORD.encode(), quoted.encode(), b"s3cret"):
        assert not [text for text in (*words, *written, *stored, *shown) if secret in text]
