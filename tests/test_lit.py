"""Training by a recipe: metrics, schedules and decay against closed formulas, in a Trainer of the user's own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from eca_ablate import AttentionClassifier, attach, build_backbone, build_head
from eca_ablate.config import Recipe
from eca_ablate.heads import HEADS
from eca_ablate.lit import build_schedule, weight_groups

# What Lightning says about small loaders is meant for the users of large ones.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*number of training batches"),
    pytest.mark.filterwarnings("ignore:.*no `val_dataloader`"),
]
OPTIONS: dict[str, dict[str, Any]] = {"eca": {"kernel_size": 3}, "se_gc": {"groups": 4}}


def images(count: int, classes: int, seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(
        torch.randn(count, 3, 4, 4, generator=generator), torch.randint(classes, (count,), generator=generator)
    )


def net(classes: int) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, classes))


class Kept(DummyLogger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[dict[str, float]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:  # type: ignore[override]
        self.kept.append(dict(metrics))

    def values(self, name: str) -> list[float]:
        return [metrics[name] for metrics in self.kept if name in metrics]


class Steps(Callback):
    """Keeps the loss and the learning rate of each step."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(float(outputs["loss"]))


def own_trainer(*callbacks: Callback, logger: Any = False, epochs: int = 1) -> Trainer:
    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=logger,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("part", ["val", "test"])
def test_metrics_are_those_computed_by_hand(part: str, classes: int) -> None:
    data = images(23, classes)
    network = net(classes)
    module = AttentionClassifier(network, classes, Recipe(label_smoothing=0.3))
    loader = DataLoader(data, batch_size=5)  # four batches of five, and one of three
    measure = {"val": own_trainer().validate, "test": own_trainer().test}[part]
    (measured,) = measure(module, loader, verbose=False)
    pixels, labels = data.tensors
    with torch.no_grad():
        logits = network(pixels)
    order = logits.argsort(1, descending=True)
    right = order == labels[:, None]
    loss = -logits.log_softmax(1)[range(23), labels].mean()
    assert measured == {
        f"{part}_top1": pytest.approx(100 * right[:, 0].float().mean().item(), rel=1e-6),
        f"{part}_top5": pytest.approx(100 * right[:, :5].any(1).float().mean().item(), rel=1e-6),
        f"{part}_loss": pytest.approx(loss.item(), rel=1e-5),
    }


def test_a_loss_that_is_no_number_is_not_left_out() -> None:
    data = images(20, 3)
    data.tensors[0][3] = math.nan
    (measured,) = own_trainer().validate(AttentionClassifier(net(3), 3), DataLoader(data, batch_size=5), verbose=False)
    assert math.isnan(measured["val_loss"])


def test_each_epoch_is_logged_once_with_the_mean_over_its_steps() -> None:
    logger, steps = Kept(), Steps()
    module = AttentionClassifier(net(3), 3, Recipe(epochs=3, lr=0.05))
    trainer = own_trainer(steps, logger=logger, epochs=3)
    trainer.fit(module, DataLoader(images(23, 3), batch_size=5, shuffle=True), DataLoader(images(8, 3, 1), 8))
    assert len(steps.losses) == 15
    means = [sum(steps.losses[i : i + 5]) / 5 for i in (0, 5, 10)]
    assert logger.values("train_loss") == pytest.approx(means, rel=1e-5)
    assert logger.values("lr") == pytest.approx([steps.rates[i] for i in (4, 9, 14)])
    for name in ("val_loss", "val_top1", "val_top5"):
        assert len(logger.values(name)) == 3


def test_any_network_learns_in_a_trainer_of_ones_own() -> None:
    pixels, labels = images(64, 2).tensors
    pixels = pixels + (4 * labels - 2)[:, None, None, None]
    module = AttentionClassifier(net(2), 2, Recipe(epochs=3, lr=0.01))
    trainer = own_trainer(epochs=3)
    trainer.fit(module, DataLoader(TensorDataset(pixels, labels), batch_size=8))  # no validation loader: none is needed
    (measured,) = trainer.test(module, DataLoader(TensorDataset(pixels, labels), 64), verbose=False)
    assert measured["test_top1"] == 100


def rates(recipe: Recipe, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.lr, momentum=recipe.momentum)
    schedule = build_schedule(optimizer, recipe, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_cosine_falls_from_the_peak_towards_zero() -> None:
    steps = 60
    expected = [0.4 * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]
    assert rates(Recipe(epochs=6, lr=0.4), steps) == pytest.approx(expected)


def test_one_cycle_peaks_after_three_tenths() -> None:
    steps = 100
    found = rates(Recipe(epochs=10, lr=0.4, schedule="one_cycle"), steps)
    up, down = 29, 70  # steps of the rise and of the fall
    rise = [0.4 + (0.016 - 0.4) * (1 + math.cos(math.pi * step / up)) / 2 for step in range(up + 1)]
    low = 0.016 / 1e4
    fall = [low + (0.4 - low) * (1 + math.cos(math.pi * step / down)) / 2 for step in range(1, down + 1)]
    assert found == pytest.approx(rise + fall)
    assert max(found) == found[29] == pytest.approx(0.4)


def test_step_is_the_papers_schedule() -> None:
    """Section 4.1: 0.1 at first, divided by 10 every 30 epochs, 100 epochs in all."""
    recipe = Recipe(epochs=100, lr=0.1, schedule="step", step_epochs=30, step_factor=0.1)
    found = rates(recipe, 700)
    assert found == pytest.approx([0.1 * 0.1 ** (step // 7 // 30) for step in range(700)])
    assert found[-1] == pytest.approx(1e-4)


@pytest.mark.parametrize("epochs", [30, 60, 90])
def test_step_does_not_drop_when_training_ends(epochs: int) -> None:
    found = rates(Recipe(epochs=epochs, lr=0.1, schedule="step"), 2 * epochs)
    assert found[-1] == pytest.approx(0.1 * 0.1 ** (epochs // 30 - 1))


@pytest.mark.parametrize("warmup", [1, 2.5])
def test_warm_up_rises_in_a_line(warmup: float) -> None:
    recipe = Recipe(epochs=10, lr=0.4, warmup_epochs=warmup)
    found, risen = rates(recipe, 100), round(10 * warmup)
    assert found[:risen] == pytest.approx([0.4 * (step + 1) / (risen + 1) for step in range(risen)])
    rest = 100 - risen
    assert found[risen:] == pytest.approx([0.2 * (1 + math.cos(math.pi * step / rest)) for step in range(rest)])


@pytest.mark.parametrize("warmup", [2, 5])
def test_warm_up_leaves_the_drops_where_they_are(warmup: int) -> None:
    recipe = Recipe(epochs=10, lr=1, schedule="step", step_epochs=4, warmup_epochs=warmup)
    found = rates(recipe, 100)
    after = range(10 * warmup, 100)
    assert [found[step] for step in after] == pytest.approx([0.1 ** (step // 40) for step in after])


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "step"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_every_schedule_survives_a_few_steps(schedule: Any, steps: int) -> None:
    found = rates(Recipe(epochs=1, lr=0.4, schedule=schedule), steps)
    assert all(0 < rate <= 0.4 + 1e-9 for rate in found)


def names_in(group: dict[str, Any], module: nn.Module) -> set[str]:
    here = {id(weight) for weight in group["params"]}
    return {name for name, weight in module.named_parameters() if id(weight) in here}


@pytest.mark.parametrize("head", sorted(HEADS))
def test_without_norm_and_bias_every_weight_of_a_head_still_decays(head: str) -> None:
    network = attach(
        build_backbone("resnet20", 10, width=1),
        lambda channels: build_head(head, channels, **OPTIONS.get(head, {})),
    )
    decayed, free = weight_groups(network, Recipe(decay="no_norm_bias"))
    assert "weight_decay" not in decayed
    assert free["weight_decay"] == 0
    everything = {name for name, _ in network.named_parameters()}
    norms = {name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    exempt = {name for name in everything if name.endswith("bias") or name.rpartition(".")[0] in norms}
    assert names_in(free, network) == exempt
    assert names_in(decayed, network) == everything - exempt
    assert all(name in names_in(decayed, network) for name in everything if ".head." in name)


def test_by_default_everything_decays() -> None:
    network = build_backbone("resnet20", 10)
    (group,) = weight_groups(network, Recipe())
    assert names_in(group, network) == {name for name, _ in network.named_parameters()}
    assert "weight_decay" not in group


def test_weights_that_two_layers_share_are_listed_once() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight, second.bias = first.weight, first.bias
    decayed, free = weight_groups(nn.Sequential(first, second), Recipe(decay="no_norm_bias"))
    assert (len(decayed["params"]), len(free["params"])) == (1, 1)


def test_decay_moves_decayed_weights_alone() -> None:
    layer = nn.Linear(2, 2)
    nn.init.ones_(layer.weight)
    nn.init.ones_(layer.bias)
    recipe = Recipe(decay="no_norm_bias", lr=0.5, weight_decay=0.1, momentum=0, nesterov=False)
    optimizer = torch.optim.SGD(weight_groups(layer, recipe), lr=recipe.lr, weight_decay=recipe.weight_decay)
    loss: Tensor = layer(torch.zeros(1, 2)).sum() * 0
    loss.backward()
    optimizer.step()
    assert layer.weight.detach().tolist() == [[pytest.approx(0.95)] * 2] * 2
    assert layer.bias.detach().tolist() == [1, 1]


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="`num_classes >= 2` must hold, but got 1"):
        AttentionClassifier(net(1), 1)
