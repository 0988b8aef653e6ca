"""`AblationData` in a plain Trainer with somebody else's module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from eca_ablate.config import DataConfig, Recipe
from eca_ablate.data import AblationData, describe, folder, prepare, resolve_augmentation
from eca_ablate.errors import ConfigError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # Lightning's own use of torch
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:DeprecationWarning"),
]


class Linear(lightning.LightningModule):
    """Remembers which images it was shown."""

    def __init__(self, size: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3 * size * size, classes)
        self.seen: list[tuple[int, int, float]] = []
        self.right = 0

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        self.seen.append((self.current_epoch, index, float((images.double() ** 2).sum())))
        return torch.nn.functional.cross_entropy(self.layer(images.flatten(1)), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        pass

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self.right += int((self.layer(batch[0].flatten(1)).argmax(1) == batch[1]).sum())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(epochs: int, *callbacks: lightning.Callback) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=bool(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def digits(seed: int = 0) -> AblationData:
    return AblationData(DataConfig(), Recipe(batch_size=300), seed=seed)


def test_digits_are_learned() -> None:
    model, data = Linear(), digits()
    run = trainer(10)
    run.fit(model, datamodule=data)
    run.test(model, datamodule=data, verbose=False)
    assert data.num_classes == 10
    assert len(model.seen) == 10 * 4
    assert model.right > 0.8 * 359


def test_resumed_runs_see_what_they_would_have_seen(tmp_path: Path) -> None:
    whole = Linear()
    trainer(9).fit(whole, datamodule=digits())
    stopped = Linear()
    saver = ModelCheckpoint(tmp_path, every_n_epochs=1, save_top_k=-1)
    trainer(7, saver).fit(stopped, datamodule=digits())
    resumed = Linear()
    trainer(9, saver).fit(resumed, datamodule=digits(), ckpt_path=str(saver.best_model_path))
    assert resumed.seen[0][0] == 7
    assert stopped.seen + resumed.seen == whole.seen


def test_resumed_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    whole = Linear()
    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    trainer(3, saver).fit(whole, datamodule=digits())
    again = ModelCheckpoint(tmp_path, "again", every_n_train_steps=1)
    for step in (1, 4, 6, 8):
        resumed = Linear()
        trainer(3, again).fit(resumed, datamodule=digits(), ckpt_path=str(tmp_path / f"step={step}.ckpt"))
        assert resumed.seen == whole.seen[step:]


def test_loaders_without_a_trainer() -> None:
    data = digits()
    images, labels = next(iter(data.train_dataloader()))
    assert images.shape == (300, 3, 8, 8)
    assert labels.shape == (300,)
    assert sum(len(labels) for _, labels in data.val_dataloader()) == data.info.n_validation
    assert sum(len(labels) for _, labels in data.test_dataloader()) == data.info.n_test
    other = next(iter(digits(seed=1).train_dataloader()))[1]
    assert not torch.equal(labels, other)


def test_training_images_have_mean_0_and_deviation_1() -> None:
    data = AblationData(DataConfig(), Recipe(batch_size=1295, augment="none"))
    ((images, _),) = list(data.train_dataloader())
    assert torch.allclose(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(images.std((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-5)


def test_several_devices_are_refused() -> None:
    data = digits()
    data.trainer = SimpleNamespace(world_size=2)  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="one run takes one device, but the trainer has 2"):
        data.setup("fit")


@pytest.mark.parametrize(("size", "augment"), [(8, "crop"), (64, "crop"), (65, "resized_crop")])
def test_auto_is_resolved(size: int, augment: str) -> None:
    info = describe(DataConfig(image_size=size))
    resolved = resolve_augmentation(Recipe(), info)
    assert (resolved.augment, resolved.flip) == (augment, False)
    assert resolve_augmentation(resolved, info) == resolved
    chosen = Recipe(augment="none", flip=True)
    assert resolve_augmentation(chosen, info) == chosen


def test_photographs_are_mirrored(tree: Callable[..., Path]) -> None:
    config = DataConfig(name="imagefolder", root=str(tree({"a": 5, "b": 5})), image_size=8)
    assert resolve_augmentation(Recipe(), describe(config)).flip is True


def test_a_run_lists_its_tree_once(tree: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root, listed = tree({"train/a": 40, "train/b": 40, "test/a": 4, "test/b": 4}, side=8), []
    config = DataConfig("imagefolder", root=str(root), image_size=8)
    prepare(config)
    scan = folder.scan
    monkeypatch.setattr(folder, "scan", lambda *given: listed.append(given) or scan(*given))
    data, run = AblationData(config, Recipe(batch_size=16)), trainer(1)
    run.fit(Linear(), datamodule=data)
    run.test(Linear(), datamodule=data, verbose=False)
    assert len(listed) == 1


def test_images_that_change_before_they_are_prepared(tree: Callable[..., Path]) -> None:
    """What was seen before they changed is not kept under the name of what they were."""
    root = tree({"train/a": 20, "train/b": 20, "test/a": 4, "test/b": 4}, side=8)
    config = DataConfig("imagefolder", root=str(root), image_size=8)
    data, before = AblationData(config), describe(config).fingerprint
    (root / "train/a/000.png").write_bytes((root / "train/b/001.png").read_bytes())
    data.prepare_data()
    data.setup()
    after = describe(config)
    assert after.prepared
    assert after.fingerprint != before
    (root / "train/a/000.png").unlink()
    assert not describe(config).prepared
