"""Faults of single runs, images and disks, done to real processes and files: the others go on, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from little import noise_images
from optuna.trial import TrialState
from processes import command, finish, states, wait_for

from eca_ablate.report import load

pytestmark = pytest.mark.slow

# Started by Python before anything else where its folder is on the path.
POISON = """
import ctypes
import torch
from eca_ablate.lit import AttentionClassifier

step = AttentionClassifier.training_step

def poisoned(self, batch, batch_idx):
    heads = {type(module).__name__ for module in self.net.modules()}
    loss = step(self, batch, batch_idx)
    if batch_idx == 3:
        if "ECA" in heads:
            torch.empty(1 << 50)
        if "ECANS" in heads:
            ctypes.string_at(0)
        if "SEVar2" in heads:
            return loss * float("nan")
    return loss

AttentionClassifier.training_step = poisoned
"""
HEADS = """
data: {name: digits, fraction: 0.5}
backbone: {name: resnet20, width: 0.25}
recipe: {epochs: 2, batch_size: 75, precision: fp32}
seeds: 1
heads: [eca, eca_ns, none, se_var2]
"""


def test_a_run_that_exhausts_or_crashes_its_worker_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    """Real memory that is not there, a real segmentation fault, a loss that is no number."""
    (tmp_path / "e.yaml").write_text(HEADS)
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "sitecustomize.py").write_text(POISON)
    path = os.pathsep.join([str(tmp_path / "poison"), *filter(None, [os.environ.get("PYTHONPATH")])])
    poisoned = {**os.environ, "PYTHONPATH": path}
    code, out, err = finish(command("run", "e.yaml", "--workers", 2, cwd=tmp_path, env=poisoned))
    assert code == 2, err
    assert "Traceback" not in err
    reasons = err.partition("2 of 4 runs failed; the same command tries them again. Reasons:\n")[2].splitlines()
    assert len(reasons) == 2
    memory, crash = sorted(reasons)
    assert memory.startswith("  it ran out of memory (RuntimeError: ")
    assert "can't allocate memory: you tried to allocate 4503599627370496 bytes" in memory
    assert crash == "  its worker was killed by SIGSEGV; given up after 3 tries that ended at the same place"
    assert memory.endswith("; given up after 3 tries that ended at the same place")
    folder = tmp_path / "results" / "e"
    assert dict(zip(load(folder)["label"], load(folder)["status"], strict=True)) == {
        "Vanilla": "done",
        "SE-Var2": "diverged",
    }
    assert "SE-Var2" in out
    assert Counter(states(folder)) == {TrialState.COMPLETE: 2, TrialState.FAIL: 6}

    code, _, err = finish(command("run", "e.yaml", "--workers", 2, cwd=tmp_path))
    assert code == 0, err
    assert set(load(folder)["label"]) == {"ECA-NS", "ECA (adaptive)", "Vanilla", "SE-Var2"}
    assert list((folder / "checkpoints").glob("*")) == []


def test_an_image_that_breaks_while_others_train_is_named_and_replaced(tmp_path: Path) -> None:
    root = noise_images(tmp_path / "images", cat=60, dog=60)
    (tmp_path / "e.yaml").write_text(
        f"data: {{name: imagefolder, root: {root}, image_size: 16, stream: true}}\n"
        "backbone: {name: resnet20, width: 0.25}\n"
        "recipe: {epochs: 2, batch_size: 8, precision: fp32}\nseeds: 2\nheads: [none]\n"
    )
    folder = tmp_path / "results" / "e"
    process = command("run", "e.yaml", "--workers", 1, cwd=tmp_path)
    wait_for(lambda: (folder / "runs.csv").exists(), process)
    whole = {}
    for number in range(30):
        broken = root / "dog" / f"{number:03d}.png"
        whole[broken] = broken.read_bytes()
        (tmp_path / "zeros").write_bytes(bytes(len(whole[broken])))  # of its size, which a streamed tree is known by
        (tmp_path / "zeros").replace(broken)
    code, _, err = finish(process)
    assert code == 2, err
    assert "Traceback" not in err
    reasons = err.partition("Reasons:\n")[2].splitlines()
    assert reasons
    for reason in reasons:
        assert reason.startswith(f"  DataError: {root / 'dog'}")
        assert " is no readable image: " in reason
        assert reason.endswith("; replace or remove it")
    before = load(folder)
    assert set(before["status"]) == {"done"}
    for path, content in whole.items():
        path.write_bytes(content)
    code, _, err = finish(command("run", "e.yaml", "--workers", 1, cwd=tmp_path))
    assert code == 0, err
    assert len(load(folder)) == 2
    assert load(folder).iloc[: len(before)]["finished_at"].tolist() == before["finished_at"].tolist()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 64 megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=64m", "none", place]
    if mount is None or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("a disk that is full needs the right to mount a small one: run as root")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_full_when_a_table_is_written_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(HEADS.replace("[eca, eca_ns, none, se_var2]", "[none, eca]"))
    folder, study = small_disk / "e", tmp_path / "study.db"
    arguments = ("run", "e.yaml", "--workers", 1, "--out", folder, "--storage", f"sqlite:///{study}")
    process = command(*arguments, cwd=tmp_path)
    wait_for(lambda: (folder / "runs.csv").exists(), process)
    filling = small_disk / "filling"
    with filling.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            pass
    before = load(folder)
    code, out, err = finish(process)
    assert (code, out) == (2, ""), err
    assert "Traceback" not in err
    assert "No space left on device" in err
    assert load(folder).equals(before)  # the old table, whole
    assert not list(folder.glob(".*.part"))
    filling.unlink()
    code, _, err = finish(command(*arguments, cwd=tmp_path))
    assert code == 0, err
    assert len(load(folder)) == 2
