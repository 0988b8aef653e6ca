"""Files of checkpoints: damaged, foreign, hostile, or too large for the disk."""

from __future__ import annotations

import pickle
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from little import little

from eca_ablate import checkpoint as checkpoint_module
from eca_ablate.checkpoint import FACTS, Checkpoints, PutBack, remove_checkpoints
from eca_ablate.config import DataConfig, RunConfig
from eca_ablate.plan import make_plan
from eca_ablate.run import run

TIMES = ("seconds", "images_per_second", "finished_at")


@pytest.fixture(scope="module")
def wanted() -> RunConfig:
    experiment = little(data=DataConfig("digits", fraction=0.25), heads=["eca"], epochs=2, batch_size=75)
    return make_plan(experiment).runs[0].config


@pytest.fixture(scope="module")
def calm(wanted: RunConfig) -> dict[str, Any]:
    return run(wanted)


class StopAt(Callback):
    def __init__(self, checkpoints: Checkpoints, step: int) -> None:
        self.checkpoints, self.step = checkpoints, step

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            self.checkpoints.stop()


@pytest.fixture(scope="module")
def saved(wanted: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save every step up to the fifth; return the folder, which holds the last two."""
    folder = tmp_path_factory.mktemp("saved")
    checkpoints = Checkpoints(folder, wanted, 0.0)
    with pytest.raises(PutBack):
        run(wanted, callbacks=[StopAt(checkpoints, 4)], checkpoints=checkpoints)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "checkpoints"))


def found_in(folder: Path, wanted: RunConfig) -> tuple[int | None, list[str]]:
    """Return the step that the run would go on from, and what it says."""
    said: list[str] = []
    found = Checkpoints(folder, wanted, warn=said.append).newest()
    return (found[1] if found else None), said


def same(row: dict[str, Any], calm: dict[str, Any]) -> bool:
    return {**row, **dict.fromkeys(TIMES)} == {**calm, **dict.fromkeys(TIMES)}


def test_the_newest_and_the_one_before_are_kept(folder: Path, wanted: RunConfig) -> None:
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{wanted.key()}.ckpt", f"{wanted.key()}.previous.ckpt"]
    assert found_in(folder, wanted) == (5, [])
    steps = [torch.load(folder / name, weights_only=True)["global_step"] for name in names]
    assert steps == [5, 4]
    remove_checkpoints(folder, wanted.key())
    assert list(folder.iterdir()) == []
    assert found_in(folder, wanted) == (None, [])


def damages(size: int) -> Iterator[tuple[str, int]]:
    sample = random.Random(0)
    yield from (("cut", length) for length in (0, 1, size // 2, size - 1, *sample.sample(range(size), 4)))
    yield ("zeros", size // 3)


def damage(path: Path, kind: str, where: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:where] + (b"" if kind == "cut" else bytes(len(content) - where)))


def test_a_damaged_newest_falls_back_to_the_one_before(saved: Path, wanted: RunConfig, tmp_path: Path) -> None:
    name = f"{wanted.key()}.ckpt"
    for number, (kind, where) in enumerate(damages((saved / name).stat().st_size)):
        folder = Path(shutil.copytree(saved, tmp_path / str(number)))
        damage(folder / name, kind, where)
        step, said = found_in(folder, wanted)
        assert step == 4
        assert len(said) == 1
        assert said[0].startswith(f"the checkpoint {name} is cut short or altered")
        assert said[0].endswith("; the one before is tried")
        assert found_in(folder, wanted) == (4, [])  # said once


def test_one_altered_weight_is_noticed(folder: Path, wanted: RunConfig) -> None:
    """Of the right size, and a zip file that torch itself reads without complaint."""
    path = folder / f"{wanted.key()}.ckpt"
    content = torch.load(path, weights_only=True)
    weights = [value for value in content["state_dict"].values() if value.ndim == 1 and len(value.unique()) > 2]
    weight = weights[0].numpy().tobytes()
    altered = path.read_bytes().replace(weight, bytes(len(weight)))
    assert altered != path.read_bytes()
    path.write_bytes(altered)
    assert torch.load(path, weights_only=True)["global_step"] == 5
    step, said = found_in(folder, wanted)
    assert (step, len(said)) == (4, 1)


def test_with_all_damaged_the_run_starts_over_and_ends_the_same(
    folder: Path, wanted: RunConfig, calm: dict[str, Any]
) -> None:
    for path in folder.iterdir():
        damage(path, "cut", 1000)
    said: list[str] = []
    row = run(wanted, checkpoints=Checkpoints(folder, wanted, warn=said.append))
    assert [text.partition("; ")[2] for text in said] == ["the one before is tried", "the run starts over"]
    assert same(row, calm)


def test_it_goes_on_from_the_one_before_and_ends_the_same(
    folder: Path, wanted: RunConfig, calm: dict[str, Any]
) -> None:
    damage(folder / f"{wanted.key()}.ckpt", "cut", 1000)
    said: list[str] = []
    assert same(run(wanted, checkpoints=Checkpoints(folder, wanted, warn=said.append)), calm)
    assert len(said) == 1


@pytest.mark.parametrize("fact", ["key", "device", "torch", "format"])
def test_one_of_another_run_machine_or_version_is_refused(folder: Path, wanted: RunConfig, fact: str) -> None:
    for path in folder.iterdir():
        content = torch.load(path, weights_only=True)
        content[FACTS][fact] = "another"
        torch.save(content, path)
    step, said = found_in(folder, wanted)
    assert step is None
    assert len(said) == 2
    assert f"is of another {fact} (another, now " in said[0]
    assert said[1].endswith("the run starts over")


def test_another_semantics_is_another_run(folder: Path, wanted: RunConfig) -> None:
    newer = replace(wanted, semantics=wanted.semantics + 1)
    assert found_in(folder, newer) == (None, [])
    (folder / f"{wanted.key()}.ckpt").rename(folder / f"{newer.key()}.ckpt")
    step, said = found_in(folder, newer)
    assert step is None
    assert "is of another key" in said[0]


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize("kind", ["of torch", "plain"])
def test_no_object_is_unpickled(
    kind: str, folder: Path, wanted: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = folder / f"{wanted.key()}.ckpt"
    if kind == "plain":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        torch.save({"global_step": 9, FACTS: Bomb()}, path)
    step, said = found_in(folder, wanted)
    assert (step, len(said)) == (4, 1)
    assert not Path("exploded").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system with room for one checkpoint, and not for two."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=400k", "none", place]
    if mount is None or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("a disk that is full needs the right to mount a small one: run as root")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_costs_checkpoints_and_nothing_else(
    small_disk: Path, saved: Path, wanted: RunConfig, calm: dict[str, Any]
) -> None:
    size = (saved / f"{wanted.key()}.ckpt").stat().st_size
    assert 200_000 < size < 400_000, "the disk of this test has room for one"
    said: list[str] = []
    checkpoints = Checkpoints(small_disk, wanted, 0.0, said.append)
    with pytest.raises(PutBack):
        run(wanted, callbacks=[StopAt(checkpoints, 3)], checkpoints=checkpoints)
    reason = "cannot be written: No space left on device; the run goes on without"
    assert said == [f"the checkpoint {wanted.key()}.ckpt {reason}"]
    assert [path.name for path in small_disk.iterdir()] == [f"{wanted.key()}.previous.ckpt"]  # and no part of another
    assert found_in(small_disk, wanted) == (1, [])
    assert same(run(wanted, checkpoints=Checkpoints(small_disk, wanted)), calm)


def test_writing_takes_a_small_share_of_the_time(
    wanted: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that needs a second for each checkpoint gets one, and not one at every step."""
    written: list[float] = []

    class Slow(Checkpoints):
        def on_save_checkpoint(self, *arguments: Any) -> None:
            super().on_save_checkpoint(*arguments)
            now[0] += 1.0
            written.append(now[0])

    now = [0.0]

    def clock() -> float:
        now[0] += 0.01
        return now[0]

    monkeypatch.setattr(checkpoint_module.time, "monotonic", clock)
    run(wanted, checkpoints=Slow(tmp_path, wanted, 0.001))
    assert len(written) == 1
