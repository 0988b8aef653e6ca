"""What the training loop costs: images a second of five ways to train one network on the same images.

Run:      python benchmarks/train_loop.py
Writes:   results/benchmarks/train_loop.csv

bare            a plain PyTorch loop: the network, data, precision, layout and optimiser of `ours`, and nothing else
ours            `eca_ablate.run.run`, as every run of an experiment goes
ours, fp32      the same in fp32
lightning       what one writes today: a LightningModule that logs its loss, a Trainer with its defaults, a DataLoader
                with two workers and torchvision's transforms, fp32, contiguous
timm            timm's loader, augmentation and optimiser around its training step, fp32, contiguous

The last two leave the C library's allocator as they find it, as programs do that know nothing of this package. Each is
a process of its own that trains a number of steps when it is its turn and sleeps otherwise, within one epoch, so that
neither start-up nor evaluation is measured.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import images
import numpy as np
import record
import timing
import torch
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from PIL import Image
from timm.data import create_loader
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from turns import Turns, loops

from eca_ablate.checkpoint import EVERY_SECONDS, Checkpoints
from eca_ablate.config import BackboneConfig, BackboneName, DataConfig, Experiment, Recipe, RunConfig
from eca_ablate.data import AblationData
from eca_ablate.data.batches import TrainBatches
from eca_ablate.data.dataset import Split
from eca_ablate.data.sets import load
from eca_ablate.lit import build_schedule, weight_groups
from eca_ablate.machine import best_device, native_bf16
from eca_ablate.plan import make_plan
from eca_ablate.run import build_net, run

CHUNK = {"resnet20": 6, "resnet18": 1}  # steps a turn
ROUNDS = {"resnet20": 10, "resnet18": 4}
GPU_CHUNK = 64
LOADER_WORKERS = 2


class LightningTurns(Callback):
    """The same in a Trainer."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begin a step."""
        self._turns.step()


class Pictures(Dataset[tuple[Any, int]]):
    """Images in memory and transforms for single ones, as torchvision's CIFAR10 has them."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64], transform: Callable[[Any], Any]) -> None:
        self.pixels, self.labels, self.transform = pixels, labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


class Tutorial(LightningModule):
    """A classifier as the tutorials write it."""

    def __init__(self, net: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.net, self.recipe = net, recipe

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss, logged."""
        pixels, labels = batch
        loss = nn.functional.cross_entropy(self.net(pixels), labels)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build SGD."""
        recipe = self.recipe
        return torch.optim.SGD(self.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)


def configuration(name: BackboneName, precision: str, data: DataConfig) -> RunConfig:
    """Return the run that every loop trains, with all cores for one run."""
    recipe = replace(Recipe(), precision=precision)  # type: ignore[arg-type]
    question = Experiment(
        data=data,
        backbone=BackboneConfig(name, stem="cifar"),
        recipe=recipe,
        seeds=1,
        heads=["none"],
        threads=torch.get_num_threads(),
    )
    return make_plan(question).runs[0].config


def bare(config: RunConfig, turns: Turns) -> None:
    """Train in a plain loop."""
    data = AblationData(config.data, config.recipe, config.seed)
    device, recipe = best_device(), config.recipe
    data.setup()
    batches = data._resident(Split.TRAIN, device)
    assert isinstance(batches, TrainBatches)
    net = build_net(config, data.num_classes).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        weight_groups(net, recipe),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    schedule = build_schedule(optimizer, recipe, recipe.epochs * len(batches))
    loss_of = nn.CrossEntropyLoss()
    while True:
        for pixels, labels in batches:
            turns.step()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=recipe.precision == "bf16"):
                loss = loss_of(net(pixels), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def ours(config: RunConfig, turns: Turns) -> None:
    """Train as every run of an experiment does, with time for a checkpoint counted while others have their turn too."""
    with tempfile.TemporaryDirectory() as place:
        checkpoints = Checkpoints(Path(place), config, every=EVERY_SECONDS * len(WAYS))
        run(config, Path(place) / "run", [LightningTurns(turns)], checkpoints=checkpoints)


def lightning_defaults(config: RunConfig, turns: Turns) -> None:
    """Train with what a user of Lightning writes today."""
    data = load(config.data)
    transform = v2.Compose(
        [
            v2.RandomCrop(data.train.images.shape[1], padding=4),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(data.mean, data.std),
        ]
    )
    loader = DataLoader(
        Pictures(data.train.images, data.train.labels, transform),
        config.recipe.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=LOADER_WORKERS,
        persistent_workers=True,
        pin_memory=record.on_gpu(),
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        trainer = Trainer(max_epochs=-1, default_root_dir=folder, callbacks=[LightningTurns(turns)])
        trainer.fit(Tutorial(build_net(config, len(data.classes)), config.recipe), loader)


def timm_loop(config: RunConfig, turns: Turns) -> None:
    """Train with timm's loader, augmentation, optimiser and step, as its train.py does by default."""
    data, recipe, device = load(config.data), config.recipe, best_device()
    side = data.train.images.shape[1]
    loader = create_loader(
        Pictures(data.train.images, data.train.labels, lambda picture: picture),
        input_size=(3, side, side),
        batch_size=recipe.batch_size,
        is_training=True,
        mean=data.mean,
        std=data.std,
        num_workers=LOADER_WORKERS,
        device=device,
    )
    net = build_net(config, len(data.classes)).to(device)
    optimizer = create_optimizer_v2(
        net, "sgd", lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    loss_of = nn.CrossEntropyLoss()
    while True:
        for pixels, labels in loader:
            turns.step()
            loss = loss_of(net(pixels), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


class Way(NamedTuple):
    """One of the ways.

    Args:
        loop: trains for ever.
        own_precision: in the machine's own one, else in fp32.
        tuned: whether the allocator is.
    """

    loop: Callable[[RunConfig, Turns], None]
    own_precision: bool
    tuned: bool

    def precision(self) -> str:
        """Return the precision on this machine."""
        return "bf16" if self.own_precision and native_bf16() else "fp32"


WAYS = {
    "bare": Way(bare, own_precision=True, tuned=True),
    "ours": Way(ours, own_precision=True, tuned=True),
    "ours, fp32": Way(ours, own_precision=False, tuned=True),
    "lightning": Way(lightning_defaults, own_precision=False, tuned=False),
    "timm": Way(timm_loop, own_precision=False, tuned=False),
}


def images_for(quick: bool) -> tuple[str, DataConfig]:
    """Return a title and the images: real ones, or where there are none, noise of the same shape."""
    found = None if quick else images.cifar10()
    return found or ("noise in the shape of CIFAR-10", images.noise(300 if quick else 10_000))


def main() -> None:
    """Measure both networks, or be one of the loops."""
    parser = record.options(__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"turns of each loop (default: {ROUNDS})")
    parser.add_argument("--net", choices=list(CHUNK), help="only this one")
    parser.add_argument("--way", choices=list(WAYS), help="be this loop (for the benchmark itself)")
    parser.add_argument("--chunk", type=int, default=1, help="steps a turn (likewise)")
    given = parser.parse_args()
    title, data = images_for(given.quick)
    if given.way:
        way = WAYS[given.way]
        way.loop(configuration(given.net, way.precision(), data), Turns(given.chunk))
        return
    load(data)  # decoded once, for all
    rows: list[dict[str, Any]] = []
    for name in [given.net] if given.net else list(CHUNK)[: 1 if given.quick else None]:
        rounds = given.rounds or (1 if given.quick else ROUNDS[name])
        chunk = 1 if given.quick else GPU_CHUNK if record.on_gpu() else CHUNK[name]
        speeds: dict[str, list[float]] = {way: [] for way in WAYS}
        command = [sys.executable, __file__, "--net", name, "--chunk", str(chunk), *["--quick"] * given.quick]
        with loops({label: ([*command, "--way", label], way.tuned) for label, way in WAYS.items()}) as started:
            for turn in range(rounds + 1):
                for label in list(WAYS)[:: 1 if turn % 2 else -1]:
                    speed = chunk * Recipe().batch_size / started[label].turn()
                    if turn:  # the first one warms up
                        speeds[label].append(speed)
        for label, way in WAYS.items():
            row: dict[str, Any] = {"network": name, "loop": label, "images": title, "batch": Recipe().batch_size}
            row |= {"precision": way.precision(), "turns": rounds, "steps_a_turn": chunk}
            row |= timing.spread(speeds[label], "images_per_s", 4)
            for other in ("bare", "lightning", "timm"):
                row |= timing.spread(timing.ratios(speeds, label, other), f"to_{other}")
            conditions = record.conditions() | ({} if way.tuned else {"keeps_large_blocks": False})  # as glibc starts
            rows.append({**row, **conditions})
        record.write(given.out / "train_loop.csv", rows)
    print(timing.table(rows, ("network", "loop", "precision", "images_per_s", "to_bare", "to_lightning", "to_timm")))


if __name__ == "__main__":
    main()
