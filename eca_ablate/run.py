"""One training: `run(config) -> row`, the only place that assembles data, network, module and trainer."""

from __future__ import annotations

import hashlib
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from eca_ablate import __version__, allocator
from eca_ablate.backbones import attach, build_backbone
from eca_ablate.checkpoint import Checkpoints
from eca_ablate.config import BackboneConfig, RunConfig
from eca_ablate.cost import backbone_macs, count
from eca_ablate.curve import Curve, rounded
from eca_ablate.data import AblationData, DataInfo
from eca_ablate.errors import DataError
from eca_ablate.heads import Head, build_head, head_label
from eca_ablate.lit import AttentionClassifier
from eca_ablate.machine import best_device, device_name, require_precision
from eca_ablate.provenance import code_version, versions

PARTS = ("val", "test")
METRICS = tuple(f"{part}_{metric}" for part in PARTS for metric in ("top1", "top5", "loss"))


def run(
    config: RunConfig,
    log_dir: Path | None = None,
    callbacks: Sequence[Callback] = (),
    label: str = "",
    checkpoints: Checkpoints | None = None,
) -> dict[str, Any]:
    """Train one network with one seed, and measure it on validation and, once, at the end, on test.

    Two calls with one configuration give the same row on the same hardware, versions and number of threads, times
    aside, whether or not they were stopped and went on. The last epoch counts, not the best one.

    Args:
        config: everything that could make the run differ.
        log_dir: folder for TensorBoard's curves; None writes none.
        callbacks: of Lightning, for example to show progress.
        label: what TensorBoard calls the head; by default its name and options.
        checkpoints: of this run; it goes on from the newest, and saves more.

    Returns:
        The columns of `runs.csv` that belong to a run, by name, and under `curve` the points of `Curve`. A run whose
        loss stopped being a number has the status `diverged` and no metrics.

    Raises:
        DataError: if the images are not those the configuration was made for.
        UserError: if the machine lacks the planned precision.
    """
    require_precision(config.recipe)
    allocator.tune()
    data = planned_data(config)
    net = build_net(config, data.num_classes).to(memory_format=torch.channels_last)
    size = data.info.image_size
    cost = count(net, size, _backbone_macs(config.backbone, data.num_classes, size))
    module = AttentionClassifier(net, data.num_classes, config.recipe)
    watch, curve = _Watch(), Curve()
    begun = checkpoints.newest() if checkpoints else None
    with _quiet(), _threads(config.threads):
        trainer = Trainer(
            max_epochs=config.recipe.epochs,
            devices=1,
            precision="bf16-mixed" if config.recipe.precision == "bf16" else "32-true",
            callbacks=[watch, curve, _Draws(config.seed), *callbacks, *([checkpoints] if checkpoints else [])],
            plugins=[checkpoints.io] if checkpoints else None,
            logger=_logger(log_dir, config, label),
            deterministic="warn" if best_device().type == "cuda" else None,  # bit for bit, as a CPU is by itself
            num_sanity_val_steps=0,
            enable_checkpointing=checkpoints is not None,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1_000_000_000,  # the module logs once an epoch, by itself
        )
        watch.start()
        trainer.fit(module, datamodule=data, ckpt_path=begun[0] if begun else None, weights_only=True)
        measured = {name: value for name, value in curve.points[-1].items() if value is not None}
        diverged = not {"train_loss", "val_loss"} <= measured.keys()
        if not diverged:
            trainer.test(module, datamodule=data, verbose=False)
            measured |= {name: rounded(name, float(value)) for name, value in trainer.callback_metrics.items()}
        if isinstance(trainer.logger, TensorBoardLogger):
            final = {f"final/{name}": math.nan if diverged else measured[name] for name in sorted(METRICS)}
            trainer.logger.log_hyperparams(_hyper_parameters(config, label), final)
            trainer.logger.finalize("success")
    metrics = (
        dict.fromkeys((*METRICS, "train_loss")) if diverged else {n: measured[n] for n in (*METRICS, "train_loss")}
    )
    return {
        **_description(config, data.info),
        "status": "diverged" if diverged else "done",
        "head_weights": cost.head_weights,
        "weights": cost.weights,
        "macs": cost.macs,
        "epochs": trainer.current_epoch,
        **metrics,
        "seconds": round(watch.total_seconds, 3),
        "images_per_second": round(watch.images_per_second, 1),
        "device": device_name(),
        **versions(),
        "eca_ablate": __version__,
        "code_version": code_version(),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "curve": curve.points,
    }


def planned_data(config: RunConfig) -> AblationData:
    """Return the images of a run.

    Raises:
        DataError: if they are not those that the configuration was made for.
    """
    data = AblationData(config.data, config.recipe, seed=config.seed)
    if data.info.fingerprint != config.fingerprint:
        raise DataError(
            f"the images of `{config.data.name}` are not those the run was planned for: fingerprint "
            f"{data.info.fingerprint}, but planned with {config.fingerprint}; restore them, or plan anew with "
            "`--out DIR`"
        )
    return data


def build_net(config: RunConfig, num_classes: int) -> nn.Module:
    """Build the network with its initial weights, which are a function of the seed.

    The backbone's are drawn from a generator of their own before any head exists, and so are the same bit for bit
    whatever the head.
    """
    backbone = config.backbone
    with _drawn_from(config.seed, "backbone"):
        net = build_backbone(backbone.name, num_classes, stem=backbone.stem, width=backbone.width)
    with _drawn_from(config.seed, "head"):
        return attach(net, next_head(config.blocks))


@cache
def _backbone_macs(backbone: BackboneConfig, num_classes: int, image_size: int) -> int:
    """Count once a process what is the same for all runs of an experiment: it takes as long as some steps."""
    with torch.device("meta"):
        net = build_backbone(backbone.name, num_classes, stem=backbone.stem, width=backbone.width)
    return backbone_macs(net, image_size)


def next_head(blocks: Sequence[Mapping[str, Any]]) -> Callable[[int], Head]:
    """Return a `make_head` that gives the head of the next block at every call."""
    remaining = iter(blocks)

    def make_head(channels: int) -> Head:
        options = dict(next(remaining))
        return build_head(options.pop("name"), channels, **options)

    return make_head


def _description(config: RunConfig, info: DataInfo) -> dict[str, Any]:
    return {
        "key": config.key(),
        "network": config.network(),
        "seed": config.seed,
        "data": config.data.name,
        "data_n_train": info.n_train,
        "data_n_validation": info.n_validation,
        "data_n_test": info.n_test,
        "image_size": info.image_size,
        "num_classes": info.num_classes,
        "fingerprint": config.fingerprint,
        "backbone": config.backbone.name,
        "stem": config.backbone.stem,
        "width": config.backbone.width,
        "blocks": [dict(block) for block in config.blocks],
        "precision": config.recipe.precision,
        "threads": config.threads,
        "recipe": config.to_dict()["recipe"],
        "semantics": config.semantics,
    }


class _Watch(Callback):
    """Measures times and the speed of training, over stops, and ends a run whose loss is no number any more."""

    def __init__(self) -> None:
        self._images = 0
        self._epochs = 0.0  # seconds of training in whole epochs
        self._epoch = 0.0  # seconds that this epoch had before the run went on
        self._before = 0.0  # seconds of the run before it went on
        self._started = self._began = time.perf_counter()

    @property
    def images_per_second(self) -> float:
        return self._images / self._epochs if self._epochs else math.nan

    @property
    def total_seconds(self) -> float:
        return self._before + time.perf_counter() - self._started

    def start(self) -> None:
        self._started = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began, self._epoch = time.perf_counter(), 0.0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epochs += self._epoch + time.perf_counter() - self._began
        data = trainer.datamodule  # type: ignore[attr-defined]
        self._images += int(trainer.num_training_batches) * min(data.recipe.batch_size, data.info.n_train)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not math.isfinite(float(trainer.callback_metrics["val_loss"])):
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        epoch = self._epoch + time.perf_counter() - self._began
        return {"images": self._images, "epochs": self._epochs, "epoch": epoch, "total": self.total_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._images, self._epochs = state_dict["images"], state_dict["epochs"]
        self._epoch, self._before = state_dict["epoch"], state_dict["total"]


class _Draws(Callback):
    """Makes what layers draw while they train (dropout, for one) a function of seed and step."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Seed the generators of CPU and device; `torch.manual_seed` seeds absent ones too, for milliseconds a step."""
        seed, device = _own_seed(self._seed, f"step {trainer.global_step}"), pl_module.device.type
        torch.default_generator.manual_seed(seed)
        if device != "cpu":
            getattr(torch, device).manual_seed(seed)


def _logger(log_dir: Path | None, config: RunConfig, label: str) -> TensorBoardLogger | bool:
    if log_dir is None:
        return False
    for path in (*log_dir.glob("events.out.tfevents.*"), log_dir / "hparams.yaml"):
        path.unlink(missing_ok=True)  # of an attempt that was stopped
    logger = TensorBoardLogger(str(log_dir.parent), name="", version=log_dir.name, default_hp_metric=False)
    logger.hparams = _hyper_parameters(config, label)
    return logger


def _hyper_parameters(config: RunConfig, label: str) -> dict[str, Any]:
    facts = config.to_dict()
    del facts["data"]["root"]
    flat = {
        f"{group}.{name}": value for group in ("data", "backbone", "recipe") for name, value in facts[group].items()
    }
    options = [{name: value for name, value in block.items() if name != "name"} for block in config.blocks]
    pairs = zip(config.blocks, options, strict=True)
    heads = dict.fromkeys(head_label(block["name"], chosen) for block, chosen in pairs)
    # The HParams view shows the first five by name, and capitals come first.
    return {"Head": label or ", ".join(heads), "Seed": config.seed, "key": config.key(), **flat}


@contextmanager
def _drawn_from(seed: int, purpose: str) -> Iterator[None]:
    """Draw from a generator of one's own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_own_seed(seed, purpose))
        yield


def _own_seed(seed: int, purpose: str) -> int:
    """Return a hash of the run's seed and the purpose."""
    return int.from_bytes(hashlib.sha256(f"{purpose}/{seed}".encode()).digest()[:8], "big") >> 1


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning from announcing each of many runs."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning(_fabric|_utilities)?\b.*")
            warnings.filterwarnings("ignore", message=r".*LeafSpec.*")
            yield
    finally:
        logger.setLevel(level)
