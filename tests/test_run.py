"""One training, one row: repeatable, paired by seed, measured on test once, and honest about divergence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning import Callback, Trainer
from little import little
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from eca_ablate.config import RunConfig
from eca_ablate.curve import Curve
from eca_ablate.data import AblationData
from eca_ablate.data.batches import EvalBatches
from eca_ablate.errors import DataError, UserError
from eca_ablate.heads import HEADS
from eca_ablate.lit import AttentionClassifier
from eca_ablate.machine import native_bf16
from eca_ablate.plan import PlannedRun, make_plan
from eca_ablate.report import COLUMNS, CURVE_COLUMNS, load, load_curves, write_curves, write_rows
from eca_ablate.run import METRICS, build_net, run

TIMES = ("seconds", "images_per_second", "finished_at")
OPTIONS: dict[str, dict[str, Any]] = {"se_gc": {"groups": 2}, "se": {"reduction": 2}}


def planned(**changes: Any) -> PlannedRun:
    return make_plan(little(**changes)).runs[0]


def config(head: Any = "none", **changes: Any) -> RunConfig:
    return planned(heads=[head], **changes).config


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TIMES}


class Visits(Callback):
    """Counts the batches of each part."""

    def __init__(self) -> None:
        self.validated = self.tested = 0

    def on_validation_batch_start(self, *_: Any) -> None:
        self.validated += 1

    def on_test_batch_start(self, *_: Any) -> None:
        self.tested += 1


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / "a run"


@pytest.fixture(scope="module")
def first(logs: Path) -> tuple[PlannedRun, dict[str, Any]]:
    """Train two epochs of ECA."""
    planned_run = planned(heads=["eca"], epochs=2)
    return planned_run, run(planned_run.config, logs, label="ECA (adaptive)")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Note how many images each pass of an evaluation read."""
    passes: list[int] = []
    original = EvalBatches.__iter__

    def iterate(self: EvalBatches) -> Iterator[Any]:
        passes.append(len(self.labels))
        yield from original(self)

    monkeypatch.setattr(EvalBatches, "__iter__", iterate)
    return passes  # type: ignore[return-value]


def test_the_same_configuration_gives_the_same_row(first: tuple[PlannedRun, dict[str, Any]]) -> None:
    planned_run, row = first
    torch.manual_seed(99)  # whatever was drawn before
    again = run(planned_run.config)
    assert without_times(again) == without_times(row)
    other = run(replace(planned_run.config, seed=1))
    assert [other[name] for name in METRICS] != [row[name] for name in METRICS]


def test_a_row_has_every_column(first: tuple[PlannedRun, dict[str, Any]], tmp_path: Path) -> None:
    planned_run, row = first
    whole = {"experiment": "little", **row, **planned_run.facts()}
    assert set(whole) == {*COLUMNS, "curve"}
    del whole["curve"]
    write_rows(tmp_path, [whole])
    read = load(tmp_path).iloc[0]
    assert read["test_top1"] == row["test_top1"]
    assert (row["status"], row["epochs"], row["key"]) == ("done", 2, planned_run.config.key())
    assert (row["data_n_train"], row["data_n_validation"], row["data_n_test"]) == (1295, 143, 359)
    assert row["head_weights"] == sum(block["kernel_size"] for block in planned_run.config.blocks)
    for name in METRICS:
        assert row[name] > 0
    assert row["seconds"] > 0
    assert row["images_per_second"] > 0


def test_a_run_keeps_a_point_of_every_epoch(first: tuple[PlannedRun, dict[str, Any]], logs: Path) -> None:
    _, row = first
    events = EventAccumulator(str(logs)).Reload()
    assert [point["epoch"] for point in row["curve"]] == [1, 2]
    for name in CURVE_COLUMNS:
        if name not in ("key", "epoch"):
            logged = [event.value for event in events.Scalars(name)]
            assert [point[name] for point in row["curve"]] == pytest.approx(logged, rel=1e-5), name
    for name in ("train_loss", "val_loss", "val_top1", "val_top5"):
        assert row["curve"][-1][name] == row[name]
    assert row["curve"][-1]["lr"] < row["curve"][0]["lr"] < 0.1


@pytest.mark.slow
def test_a_checkpoint_holds_the_curve(tmp_path: Path) -> None:
    """What Lightning itself saves and loads: a resumed run has the points of before."""
    ours = config(epochs=2)
    data = AblationData(ours.data, ours.recipe, seed=0)
    curves = []
    for epochs, resumed in ((1, None), (2, tmp_path / "one.ckpt")):
        curve, module = Curve(), AttentionClassifier(build_net(ours, 10), 10, ours.recipe)
        trainer = Trainer(
            max_epochs=epochs,
            callbacks=[curve],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
        )
        trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)
        trainer.save_checkpoint(tmp_path / "one.ckpt")
        curves.append(curve.points)
    assert curves[1][:1] == curves[0]
    assert [point["epoch"] for point in curves[1]] == [1, 2]


def test_tensorboard_has_the_curves_and_the_hyper_parameters(
    first: tuple[PlannedRun, dict[str, Any]], logs: Path
) -> None:
    planned_run, row = first
    events = EventAccumulator(str(logs)).Reload()
    for name in ("train_loss", "lr", "val_loss", "val_top1", "val_top5"):
        assert len(events.Scalars(name)) == 2, name
    assert events.Scalars("val_top1")[-1].value == pytest.approx(row["val_top1"], rel=1e-5)
    assert events.Scalars("train_loss")[-1].value == pytest.approx(row["train_loss"], rel=1e-4)
    for name in METRICS:
        assert events.Scalars(f"final/{name}")[-1].value == pytest.approx(row[name], rel=1e-5)
    contents = events.PluginTagToContent("hparams")
    content, experiment = contents["_hparams_/session_start_info"], contents["_hparams_/experiment"]
    stored = HParamsPluginData.FromString(content).session_start_info.hparams
    assert stored["recipe.lr"].number_value == 0.1
    assert stored["Seed"].number_value == 0
    assert stored["key"].string_value == planned_run.config.key()
    assert stored["Head"].string_value == "ECA (adaptive)"
    assert "data.root" not in stored
    metrics = {info.name.tag for info in HParamsPluginData.FromString(experiment).experiment.metric_infos}
    assert metrics == {f"final/{name}" for name in METRICS}
    assert yaml.safe_load((logs / "hparams.yaml").read_text())["recipe.lr"] == 0.1


def test_tensorboard_shows_no_accuracy_of_a_run_that_diverged(tmp_path: Path) -> None:
    run(config("se_var1", lr=1e30), tmp_path / "log")
    events = EventAccumulator(str(tmp_path / "log")).Reload()
    assert all(math.isnan(events.Scalars(f"final/{name}")[-1].value) for name in METRICS)
    content = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    stored = HParamsPluginData.FromString(content).session_start_info.hparams
    assert sorted(stored)[:2] == ["Head", "Seed"], "the view shows the first five"
    assert stored["Head"].string_value == "SE-Var1"


def test_a_second_attempt_leaves_no_double_curves(tmp_path: Path) -> None:
    for _ in range(2):
        run(config(), tmp_path / "log")
    assert len(EventAccumulator(str(tmp_path / "log")).Reload().Scalars("val_top1")) == 1


@pytest.mark.parametrize("head", sorted(HEADS))
def test_all_heads_of_a_seed_begin_with_the_same_backbone(head: str) -> None:
    spec = {"name": head, **OPTIONS.get(head, {})}
    for seed in (0, 1):
        vanilla = build_net(config(seeds=[seed]), 10).state_dict()
        ours = build_net(config(spec, seeds=[seed]), 10).state_dict()
        backbone = {name.replace(".norm.", "."): value for name, value in ours.items() if ".head." not in name}
        assert backbone.keys() == vanilla.keys()
        assert all(torch.equal(backbone[name], vanilla[name]) for name in vanilla)


def test_initial_weights_are_a_function_of_the_seed_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same = (build_net(config("eca"), 10).state_dict() for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    other = build_net(config("eca", seeds=[1]), 10).state_dict()
    drawn = [name for name in one if "head" in name or "conv" in name]
    assert drawn
    assert not any(torch.equal(one[name], other[name]) for name in drawn)
    heads = [value.flatten() for name, value in one.items() if ".head." in name]
    assert len({tuple(head.tolist()) for head in heads}) == len(heads)


def test_test_is_read_once_and_last(reads: list[int]) -> None:
    visits = Visits()
    row = run(config(epochs=2), callbacks=[visits])
    assert reads == [143, 143, 359]
    assert (visits.validated, visits.tested) == (2, 1)
    assert row["status"] == "done"


@pytest.mark.parametrize(
    "precision",
    ["fp32", pytest.param("bf16", marks=pytest.mark.skipif(not native_bf16(), reason="bf16 would be imitated"))],
)
def test_a_run_that_diverges_says_so_and_does_not_read_test(reads: list[int], precision: Any, tmp_path: Path) -> None:
    planned_run = planned(heads=["none"], lr=1e30, epochs=3, precision=precision)
    row = run(planned_run.config, tmp_path / "log")
    assert row["status"] == "diverged"
    assert [row[name] for name in (*METRICS, "train_loss")] == [None] * 7
    assert row["epochs"] < 3
    assert 359 not in reads
    curve = row.pop("curve")
    assert [point["epoch"] for point in curve] == list(range(1, row["epochs"] + 1))
    assert curve[-1]["val_loss"] is None
    write_rows(tmp_path, [{"experiment": "little", **row, **planned_run.facts()}])
    write_curves(tmp_path, {row["key"]: curve})
    assert load(tmp_path).iloc[0]["status"] == "diverged"
    assert len(load_curves(tmp_path)) == len(curve)


def test_one_batch_of_validation_that_is_no_number_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = AttentionClassifier.forward

    def spoilt(self: AttentionClassifier, images: torch.Tensor) -> torch.Tensor:
        logits = forward(self, images)
        if not self.training:
            logits[0] = float("nan")
        return logits

    monkeypatch.setattr(AttentionClassifier, "forward", spoilt)
    assert run(config())["status"] == "diverged"


@pytest.mark.skipif(not native_bf16(), reason="this machine would only imitate bf16")
def test_both_precisions_run_and_are_different_runs() -> None:
    fp32, bf16 = (config("eca", precision=precision) for precision in ("fp32", "bf16"))
    assert fp32.key() != bf16.key()
    rows = [run(fp32), run(bf16)]
    assert [row["precision"] for row in rows] == ["fp32", "bf16"]
    assert rows[0]["val_loss"] != rows[1]["val_loss"]


def test_a_precision_that_the_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eca_ablate.machine.native_bf16", lambda: False)
    with pytest.raises(UserError, match="the plan says precision `bf16`"):
        run(config(precision="bf16"))


def test_other_images_than_planned_are_refused() -> None:
    with pytest.raises(DataError, match=r"fingerprint .*, but planned with 0000"):
        run(replace(config(), fingerprint="0000"))


def test_threads_are_those_of_the_configuration_and_restored() -> None:
    class Threads(Callback):
        seen = 0

        def on_train_start(self, *_: Any) -> None:
            self.seen = torch.get_num_threads()

    before, threads = torch.get_num_threads(), Threads()
    run(config(threads=before + 1), callbacks=[threads])
    assert threads.seen == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(DataError):
        run(replace(config(threads=before + 1), fingerprint="0000"))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 4096},
        {"schedule": "one_cycle"},
        {"schedule": "step", "warmup_epochs": 0.5},
        {"decay": "no_norm_bias"},
        {"label_smoothing": 0.1},
        {"augment": "resized_crop", "flip": True},
    ],
    ids=str,
)
def test_every_recipe_trains(options: dict[str, Any]) -> None:
    row = run(config("eca", **options))
    assert row["status"] == "done"
    assert row["epochs"] == 1
