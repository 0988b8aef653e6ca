"""Exact resume: a run that is stopped anywhere and goes on ends with the same bits as one that was never stopped."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from little import little, noise_images
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from eca_ablate import run as run_module
from eca_ablate.checkpoint import Checkpoints, PutBack
from eca_ablate.config import DataConfig, RunConfig
from eca_ablate.machine import native_bf16
from eca_ablate.plan import make_plan
from eca_ablate.run import run

TIMES = ("seconds", "images_per_second", "finished_at")
STEPS, EPOCHS = 4, 3  # steps an epoch


def config(**changes: Any) -> RunConfig:
    few = DataConfig("digits", fraction=0.25)
    experiment = little(**{"data": few, "heads": ["eca"], "epochs": EPOCHS, "batch_size": 75, **changes})
    return make_plan(experiment).runs[0].config


class Final(Callback):
    """Keeps the weights and buffers that training ends with."""

    state: dict[str, torch.Tensor]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.state = {name: value.clone() for name, value in pl_module.state_dict().items()}


class StopAt(Callback):
    """Asks for a stop when a step begins, as SIGTERM does."""

    def __init__(self, checkpoints: Checkpoints, step: int) -> None:
        self.checkpoints, self.step = checkpoints, step

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            assert self.checkpoints.stop()


class Crash(BaseException):
    """What a kill is to the code in hand, as far as a process can do it to itself."""


class CrashAt(Callback):
    def __init__(self, hook: str, step: int) -> None:
        self.step = step
        setattr(self, hook, self.crash)

    def crash(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step >= self.step:
            raise Crash


def curves(log: Path) -> dict[str, list[tuple[int, str]]]:
    events = EventAccumulator(str(log)).Reload()
    return {tag: sorted((e.step, repr(e.value)) for e in events.Scalars(tag)) for tag in events.Tags()["scalars"]}


def bits(state: dict[str, torch.Tensor]) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in state.items()}


def warned(text: str) -> None:
    raise AssertionError(text)


def same_end(wanted: tuple[dict[str, Any], Final, Path], row: dict[str, Any], final: Final, log: Path) -> None:
    assert bits(final.state) == bits(wanted[1].state)
    assert {**row, **dict.fromkeys(TIMES)} == {**wanted[0], **dict.fromkeys(TIMES)}
    assert curves(log) == curves(wanted[2])


def undisturbed(wanted: RunConfig, folder: Path) -> tuple[dict[str, Any], Final, Path]:
    final = Final()
    return run(wanted, folder / "calm", [final]), final, folder / "calm"


def stopped_at(wanted: RunConfig, folder: Path, steps: list[int]) -> tuple[dict[str, Any], Final, Path]:
    """Train with a stop at each of the steps, every attempt with objects of its own."""
    for step in steps:
        checkpoints = Checkpoints(folder, wanted, warn=warned)
        with pytest.raises(PutBack):
            run(wanted, folder / "stopped", [StopAt(checkpoints, step)], checkpoints=checkpoints)
        found = Checkpoints(folder, wanted, warn=warned).newest()
        assert found is not None
        assert found[1] == step + 1
    final = Final()
    row = run(wanted, folder / "stopped", [final], checkpoints=Checkpoints(folder, wanted, warn=warned))
    return row, final, folder / "stopped"


@pytest.fixture(scope="module")
def calm_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, tuple[dict[str, Any], Final, Path]]:
    wanted = config()
    return wanted, undisturbed(wanted, tmp_path_factory.mktemp("calm"))


RECIPES: dict[str, dict[str, Any]] = {
    "cosine": {"warmup_epochs": 0.5},
    "step": {"schedule": "step", "step_epochs": 1, "decay": "no_norm_bias", "nesterov": False},
    "one cycle": {"schedule": "one_cycle", "label_smoothing": 0.1, "augment": "resized_crop", "flip": True},
    "bf16": {"precision": "bf16"},
    "one batch an epoch": {"batch_size": 4096},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_stops_anywhere_leave_no_trace(recipe: str, tmp_path: Path) -> None:
    if recipe == "bf16" and not native_bf16():
        pytest.skip("this machine would only imitate bf16")
    wanted = config(**RECIPES[recipe])
    steps = EPOCHS if recipe == "one batch an epoch" else STEPS * EPOCHS
    calm = undisturbed(wanted, tmp_path)
    stops = sorted(random.Random(recipe).sample(range(steps), min(4, steps - 1)))
    same_end(calm, *stopped_at(wanted, tmp_path, stops))


@pytest.mark.parametrize(
    ("hook", "step"),
    [
        ("on_train_batch_start", 1),
        ("on_train_batch_start", STEPS + 2),
        ("on_validation_start", STEPS),
        ("on_train_epoch_start", 2 * STEPS),
        ("on_test_start", 0),
    ],
)
def test_a_crash_costs_the_steps_since_the_last_checkpoint_and_no_more(
    hook: str, step: int, calm_run: tuple[RunConfig, tuple[dict[str, Any], Final, Path]], tmp_path: Path
) -> None:
    """Checkpoints at every step; the crash leaves whatever there is, and the log files unfinished."""
    wanted, calm = calm_run
    with pytest.raises(Crash):
        run(wanted, tmp_path / "log", [CrashAt(hook, step)], checkpoints=Checkpoints(tmp_path, wanted, 0.0, warned))
    final = Final()
    same_end(
        calm,
        run(wanted, tmp_path / "log", [final], checkpoints=Checkpoints(tmp_path, wanted, 0.0, warned)),
        final,
        tmp_path / "log",
    )


def test_what_layers_draw_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = run_module.build_net

    def with_dropout(wanted: RunConfig, num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.3), build(wanted, num_classes), nn.Dropout(0.1))

    monkeypatch.setattr(run_module, "build_net", with_dropout)
    wanted = config()
    torch.manual_seed(1)
    calm = undisturbed(wanted, tmp_path)
    torch.manual_seed(2)
    same_end(calm, *stopped_at(wanted, tmp_path, [2, 6]))


def test_streamed_images_go_on_too(tmp_path: Path) -> None:
    data = DataConfig(
        "imagefolder", root=str(noise_images(tmp_path / "images", a=40, b=40)), image_size=16, stream=True
    )
    wanted = config(data=data, batch_size=16, augment="resized_crop", flip=True, epochs=2)
    same_end(undisturbed(wanted, tmp_path), *stopped_at(wanted, tmp_path, [1, 5]))


def test_a_diverged_run_that_was_stopped_diverges(tmp_path: Path) -> None:
    wanted = config(lr=1e30)
    calm = undisturbed(wanted, tmp_path)
    assert calm[0]["status"] == "diverged"
    same_end(calm, *stopped_at(wanted, tmp_path, [1]))
