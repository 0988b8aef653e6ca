"""The data sets as a LightningDataModule, for this package's runs and for a Trainer of your own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule

from eca_ablate.config import DataConfig, Recipe
from eca_ablate.data.augment import Normaliser
from eca_ablate.data.batches import EvalBatches, TrainBatches
from eca_ablate.data.dataset import DataInfo, DataSet, Split
from eca_ablate.data.resume import Resumable
from eca_ablate.data.sets import StreamPart, load, look, prepare, resolve_augmentation, streams
from eca_ablate.data.stream import EpochSampler, StreamBatches, StreamedImages
from eca_ablate.errors import ConfigError

EVAL_BATCH = 512  # at least: evaluation keeps no activations, so its batches can be larger


class AblationData(LightningDataModule):
    """One of the data sets, with the recipe's batches and augmentation.

    Batches are `(images, labels)`: float32 `[batch, 3, size, size]` in channels-last memory, normalised by the
    training images' mean and standard deviation (ImageNet's when streaming), and int64 `[batch]`. Order and
    augmentation are functions of `seed` and the trainer's epoch alone, so a run that is resumed sees what it would
    have seen.

    Args:
        config: which images, and how they are split.
        recipe: its `batch_size`, `augment` and `flip` are used.
        seed: of order and augmentation.
    """

    def __init__(self, config: DataConfig, recipe: Recipe | None = None, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.info: DataInfo
        self.info, self._opened = look(config)
        recipe = recipe or Recipe()
        if config.stream and recipe.augment == "auto":  # streamed images have no common size to crop
            recipe = replace(recipe, augment="resized_crop")
        self.recipe = resolve_augmentation(recipe, self.info)
        self.seed = seed
        if config.stream and self.recipe.augment == "crop":
            raise ConfigError(
                "recipe.augment", "streamed images have no common size to `crop`; take `resized_crop` or `none`"
            )
        self._data: DataSet | None = None
        self._streams: dict[Split, StreamPart] | None = None
        self._loaders: dict[tuple[Split, torch.device], Iterable[Any]] = {}
        self._place: dict[str, int] | None = None

    @property
    def num_classes(self) -> int:
        """Return how many classes there are."""
        return self.info.num_classes

    def prepare_data(self) -> None:
        """Download and decode what is missing."""
        if not self.config.stream and not self.info.prepared:
            prepare(self.config)

    def setup(self, stage: str | None = None) -> None:
        """Load the images into memory; the loaders move them to the device.

        Raises:
            ConfigError: if the trainer has several devices, between which batches would have to be divided.
        """
        if self.trainer is not None and self.trainer.world_size > 1:
            raise ConfigError(
                "trainer.devices",
                f"one run takes one device, but the trainer has {self.trainer.world_size}; spread runs over "
                "devices instead",
            )
        if self._data is None and not self.config.stream:
            self._data = load(self.config, self._opened if self.info.prepared else None)

    def train_dataloader(self) -> Iterable[Any]:
        """Return shuffled, augmented batches of the training images."""
        loader = self._loader(Split.TRAIN)
        if self._place is not None:
            assert isinstance(loader, Resumable)  # noqa: S101  (training loaders are)
            loader.load_state_dict(self._place)
            self._place = None
        return loader

    def val_dataloader(self) -> Iterable[Any]:
        """Return the validation images in fixed order, as they are."""
        return self._loader(Split.VALIDATION)

    def test_dataloader(self) -> Iterable[Any]:
        """Return the test images in fixed order, as they are."""
        return self._loader(Split.TEST)

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the epoch, for a checkpoint.

        Lightning keeps it too, but does not give it back to a loader that was asked for its length before, as
        `trainer.estimated_stepping_batches` does for a schedule.
        """
        for (split, _), loader in self._loaders.items():
            if split is Split.TRAIN and isinstance(loader, Resumable):
                return {"place": loader.state_dict()}
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Begin the next epoch of training at the place of a checkpoint, if it is of the same epoch."""
        self._place = state_dict.get("place")

    def _loader(self, split: Split) -> Iterable[Any]:
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        if (split, device) not in self._loaders:
            make = self._streamed if self.config.stream else self._resident
            self._loaders[split, device] = make(split, device)
        return self._loaders[split, device]

    def _epoch(self) -> int:
        return 0 if self.trainer is None else self.trainer.current_epoch

    def _resident(self, split: Split, device: torch.device) -> Iterable[Any]:
        if self._data is None:
            self.setup()
        data = self._data
        assert data is not None  # noqa: S101  (`setup` has loaded it)
        part, batch = data.part(split), self.recipe.batch_size
        normalise = Normaliser.of(data.mean, data.std, self.info.image_size, device)
        if split is not Split.TRAIN:
            return EvalBatches(part, normalise, max(EVAL_BATCH, batch), device)
        augment, flip = self.recipe.augment, self.recipe.flip
        assert augment != "auto"  # noqa: S101  (resolved above)
        assert flip is not None  # noqa: S101  (likewise)
        return TrainBatches(part, normalise, batch, augment, flip, self.seed, self._epoch, device)

    def _streamed(self, split: Split, device: torch.device) -> Iterable[Any]:
        if self._streams is None:
            self._streams = streams(self.config, self._opened)
        part = self._streams[split]
        train = split is Split.TRAIN
        images = StreamedImages(
            Path(self.config.root or "").expanduser(),
            part,
            self.info.image_size,
            augment=train and self.recipe.augment == "resized_crop",
            flip=train and bool(self.recipe.flip),
            seed=self.seed,
        )
        sampler = EpochSampler(len(images), self.recipe.batch_size, train, self.seed)
        return StreamBatches(images, sampler, self._epoch, pin=device.type == "cuda")
