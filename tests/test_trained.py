"""Kept weights, and what is measured from them: the network that was trained, its gates and its matrices."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from little import little
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from eca_ablate.commands import Manner, write_gates
from eca_ablate.config import RunConfig
from eca_ablate.data import AblationData
from eca_ablate.errors import DataError, UserError
from eca_ablate.gates import GateHistograms, channel_heads, measure, watched
from eca_ablate.plan import make_plan
from eca_ablate.report import RowsWarning, load, load_gates, write_rows
from eca_ablate.run import build_net, run
from eca_ablate.trained import KeepWeights, Trained, load_trained, weights_path

TIMES = ("seconds", "images_per_second", "finished_at")
HEADS = ("none", {"name": "se", "reduction": 2}, "se_var3")
BLOCKS = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train three networks, keep their weights, measure their gates."""
    folder = tmp_path_factory.mktemp("kept")
    rows = []
    for planned in make_plan(little(heads=list(HEADS))).runs:
        config = planned.config
        callbacks = [KeepWeights(folder, config), GateHistograms()]
        row = run(config, folder / "logs" / config.key(), callbacks)
        del row["curve"]
        rows.append({"experiment": "little", **row, **planned.facts()})
    write_rows(folder, rows)
    assert write_gates(str(folder), None) == 0
    return folder


def config_of(head: Any, **changes: Any) -> RunConfig:
    return make_plan(little(heads=[head], **changes)).runs[0].config


def test_images(config: RunConfig) -> list[tuple[Tensor, Tensor]]:
    data = AblationData(config.data, config.recipe)
    data.setup()
    return list(data.test_dataloader())


test_images.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_the_network_is_the_one_that_was_trained(folder: Path, head: Any) -> None:
    config = config_of(head)
    trained = load_trained(weights_path(folder, config.key()))
    assert trained.config == config
    assert not trained.net.training
    with torch.inference_mode():
        right = sum(int((trained.net(x).argmax(1) == y).sum()) for x, y in test_images(config))
    row = run(config)
    assert round(100 * right / 359, 4) == row["test_top1"]


def test_the_file_holds_plain_values_and_is_read_safely(folder: Path) -> None:
    config = config_of("se_var3")
    kept = torch.load(weights_path(folder, config.key()), weights_only=True)
    assert json.loads(json.dumps(kept["config"])) == config.to_dict()
    assert kept["num_classes"] == 10
    assert all(type(value) is Tensor for value in kept["state_dict"].values())


def test_what_is_kept_changes_no_row(folder: Path) -> None:
    config = config_of("se_var3")
    rows = [run(config), run(config, callbacks=[KeepWeights(folder, config), GateHistograms()])]
    plain, kept = ({name: value for name, value in row.items() if name not in TIMES} for row in rows)
    assert plain == kept


def test_a_run_that_diverged_leaves_no_weights(tmp_path: Path) -> None:
    config = config_of("none", lr=1e30)
    assert run(config, callbacks=[KeepWeights(tmp_path, config)])["status"] == "diverged"
    assert not weights_path(tmp_path, config.key()).exists()


def test_finished_runs_without_weights_stay_as_they_are_and_are_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = load(folder).to_dict("records")
    Manner(keep_weights=True).say_what_is_missing(folder, rows)
    Manner().say_what_is_missing(tmp_path, rows)
    assert capsys.readouterr().err == ""
    Manner(keep_weights=True).say_what_is_missing(tmp_path, [*rows, {**rows[0], "status": "diverged"}])
    said = capsys.readouterr().err
    assert said.startswith("3 finished runs without kept weights stay as they are")
    assert "--out DIR" in said


class _Attack:
    def __reduce__(self) -> Any:
        return os.mkdir, ("attacked",)


@pytest.mark.parametrize("damage", ["cut", "empty", "absent", "pickle", "other"])
def test_damaged_weights_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pt"
    whole = weights_path(folder, config_of("se_var3").key())
    match damage:
        case "cut":
            path.write_bytes(whole.read_bytes()[:-500])
        case "empty":
            path.touch()
        case "pickle":
            path.write_bytes(pickle.dumps(_Attack(), protocol=2))
        case "other":
            kept = torch.load(whole, weights_only=True)
            torch.save({**kept, "config": config_of("none").to_dict()}, path)
    with pytest.raises(DataError, match=r"x\.pt: .*--keep-weights"):
        load_trained(path)
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize("head", HEADS[1:], ids=str)
def test_the_gates_are_the_means_over_the_images_of_each_class(folder: Path, head: Any) -> None:
    config = config_of(head)
    trained = load_trained(weights_path(folder, config.key()))
    heads = {name: module for name, module in trained.net.named_modules() if name.endswith(".head")}
    maps: dict[str, Tensor] = {}
    for name, module in heads.items():
        module.register_forward_pre_hook(lambda _, inputs, name=name: maps.update({name: inputs[0]}))
    (images, labels), *more = test_images(config)
    assert not more
    with torch.no_grad():
        trained.net(images)
        gates = {name: torch.sigmoid(heads[name].logits(x.mean((2, 3)))) for name, x in maps.items()}
    (found,) = [found for found in load_gates(folder) if found.head == config.blocks[0]["name"]]
    assert list(found.gates) == BLOCKS
    assert found.images.tolist() == labels.bincount().tolist()
    for block, name in zip(BLOCKS, heads, strict=True):
        expected = torch.stack([gates[name][labels == label].mean(0) for label in range(10)])
        np.testing.assert_allclose(found.gates[block], expected.numpy(), atol=1e-5)
    if head == "se_var3":
        weights = [module.weight.detach().half().float().numpy() for module in heads.values()]
        assert all(np.array_equal(m, w) for m, w in zip(found.matrices.values(), weights, strict=True))
    else:
        assert found.matrices == {}


def test_a_class_without_images_has_no_mean() -> None:
    config = config_of("se_var1")
    trained = load_net(config)
    found = measure(trained._replace(num_classes=11))
    assert np.isnan(found["gate_0"][10]).all()
    assert not np.isnan(found["gate_0"][:10]).any()
    assert channel_heads(nn.Linear(1, 1)) == {}


def load_net(config: RunConfig) -> Trained:
    return Trained(config, build_net(config, 10).eval(), 10)


def test_nobody_watches_afterwards() -> None:
    net = load_net(config_of("eca")).net
    images = torch.zeros(1, 3, 8, 8)
    with watched(net) as seen:
        net(images)
    assert list(seen) == BLOCKS
    seen.clear()
    net(images)
    assert seen == {}


def test_histograms_are_of_every_block_and_only_on_request(folder: Path, tmp_path: Path) -> None:
    config = config_of("se_var3")
    events = EventAccumulator(str(folder / "logs" / config.key())).Reload()
    assert sorted(events.Tags()["histograms"]) == [f"gates/{block}" for block in BLOCKS]
    counts = events.Histograms("gates/layer3.2")[0].histogram_value
    assert counts.num == 143 * 16
    assert 0 <= counts.min <= counts.max <= 1
    run(config, tmp_path / "log")
    assert EventAccumulator(str(tmp_path / "log")).Reload().Tags()["histograms"] == []


def test_gates_need_kept_weights_and_the_same_images(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--keep-weights"):
        write_gates(str(tmp_path), None)
    kept = torch.load(weights_path(folder, config_of("se_var3").key()), weights_only=True)
    kept["config"]["fingerprint"] = "0000"
    (tmp_path / "weights").mkdir()
    torch.save(kept, tmp_path / "weights" / "x.pt")
    with pytest.raises(DataError, match="planned with 0000"):
        write_gates(str(tmp_path), None)


@pytest.mark.parametrize("damage", ["cut", "junk", "pickle", "shape", "range"])
def test_damaged_gates_are_left_out_and_named(folder: Path, tmp_path: Path, damage: str) -> None:
    (tmp_path / "runs.csv").write_bytes((folder / "runs.csv").read_bytes())
    (tmp_path / "gates").mkdir()
    for path in (folder / "gates").iterdir():
        (tmp_path / "gates" / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "gates" / f"{config_of('se_var3').key()}.npz"
    arrays = dict(np.load(path))
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:-300])
        case "junk":
            path.write_bytes(b"junk")
        case "pickle":
            np.savez(path, **{**arrays, "blocks": np.array(["a", None], dtype=object)})
        case "shape":
            np.savez(path, **{**arrays, "matrix_2": arrays["matrix_2"][:1]})
        case "range":
            np.savez(path, **{**arrays, "gate_0": arrays["gate_0"] + 1})
    with pytest.warns(RowsWarning, match=f"{path.name}: .*left out"):
        assert [found.head for found in load_gates(tmp_path)] == ["se"]


def test_no_damage_ends_in_a_traceback(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "runs.csv", tmp_path)
    (tmp_path / "gates").mkdir()
    path = tmp_path / "gates" / f"{config_of('se_var3').key()}.npz"
    whole, chance = (folder / "gates" / path.name).read_bytes(), random.Random(0)
    with warnings.catch_warnings(action="ignore", category=RowsWarning):
        for _ in range(100):
            damaged = bytearray(whole)
            for _ in range(chance.choice([1, 2, 20])):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            path.write_bytes(damaged[: chance.choice([len(whole), chance.randrange(len(whole))])])
            assert len(load_gates(tmp_path)) <= 1
