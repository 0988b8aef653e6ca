"""Streaming: the same images whoever decodes them, and torchvision's geometry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms.v2 as v2
from PIL import Image

from eca_ablate.config import DataConfig, Recipe
from eca_ablate.data import AblationData, describe
from eca_ablate.data import stream as stream_module
from eca_ablate.data.augment import AREA, RATIO, generator
from eca_ablate.data.stream import IMAGENET_MEAN, IMAGENET_STD, StreamBatches, box_in
from eca_ablate.errors import ConfigError, DataError

Tree = Callable[..., Path]


def streamed(root: Path, size: int = 16, seed: int = 0, **recipe: object) -> AblationData:
    config = DataConfig(name="imagefolder", root=str(root), image_size=size, stream=True)
    return AblationData(config, Recipe(batch_size=4, **{"augment": "resized_crop", **recipe}), seed)  # type: ignore[arg-type]


def epoch(data: AblationData, number: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    loader = data.train_dataloader()
    assert isinstance(loader, StreamBatches)
    loader._epoch = lambda: number
    return list(loader)


def same(one: list[tuple[torch.Tensor, torch.Tensor]], other: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    return all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(one, other, strict=True))


def test_workers_do_not_matter(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"a": 12, "b": 12}, side=20)
    results = []
    for cores in (1, 2, 3):
        monkeypatch.setattr(stream_module.os, "sched_getaffinity", lambda _, n=cores: set(range(n)))
        data = streamed(root)
        results.append([epoch(data, number) for number in (0, 1, 0)])
    for result in results:
        for number in range(3):
            assert same(result[number], results[0][number])
        assert same(result[0], result[2])  # the same epoch again
        assert not same(result[0], result[1])
    images, labels = results[0][0][0]
    assert images.shape == (4, 3, 16, 16)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64
    assert not same(epoch(streamed(root, seed=1), 0), results[0][0])


def test_evaluation_is_torchvisions(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module.os, "sched_getaffinity", lambda _: {0})
    root = tree({"train/a": 4, "train/b": 4, "val/a": 3, "val/b": 2}, side=60)
    data = streamed(root, size=28)
    images = torch.cat([images for images, _ in data.test_dataloader()])
    labels = torch.cat([labels for _, labels in data.test_dataloader()])
    assert labels.tolist() == [0, 0, 0, 1, 1]
    reference = v2.Compose(
        [
            v2.Resize(32),
            v2.CenterCrop(28),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(IMAGENET_MEAN), list(IMAGENET_STD)),
        ]
    )
    expected = torch.stack([reference(Image.open(path)) for path in sorted((root / "val").rglob("*.png"))])
    assert torch.allclose(images, expected, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(300, 400), (400, 300), (10, 400)])
def test_boxes_lie_within_the_image(height: int, width: int) -> None:
    for i in range(200):
        top, left, tall, wide = box_in(height, width, generator(0, 0, f"{i}"))
        assert top >= 0
        assert left >= 0
        assert top + tall <= height + 1e-6
        assert left + wide <= width + 1e-6
        assert RATIO[0] - 1e-6 <= wide / tall <= RATIO[1] + 1e-6
        assert tall * wide >= AREA[0] * height * width * 0.999 or tall == height


def test_resume_in_the_middle(tree: Tree) -> None:
    root = tree({"a": 14, "b": 14})
    whole = epoch(streamed(root), 5)
    first = streamed(root).train_dataloader()
    assert isinstance(first, StreamBatches)
    first._epoch = lambda: 5
    for _ in zip(range(2), first, strict=False):
        pass
    second = streamed(root)
    loader = second.train_dataloader()
    assert isinstance(loader, StreamBatches)
    loader.load_state_dict(first.state_dict())
    assert same(epoch(second, 5), whole[2:])


def test_fingerprint_takes_paths_and_sizes(tree: Tree) -> None:
    root = tree({"a": 6, "b": 6})
    before = describe(streamed(root).config)
    assert before.prepared
    path = root / "a" / "000.png"
    path.write_bytes(path.read_bytes()[::-1])
    assert describe(streamed(root).config).fingerprint == before.fingerprint
    path.write_bytes(path.read_bytes() + b" ")
    assert describe(streamed(root).config).fingerprint != before.fingerprint


def test_a_broken_image_is_named(tree: Tree) -> None:
    root = tree({"train/a": 8, "train/b": 8, "val/a": 2, "val/b": 2})
    (root / "val" / "b" / "001.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"val/b/001.png is no readable image"):
        list(streamed(root).test_dataloader())


def test_padding_is_for_images_of_one_size(tree: Tree) -> None:
    with pytest.raises(ConfigError, match="take `resized_crop` or `none`"):
        streamed(tree({"a": 6, "b": 6}), augment="crop")


def test_real_photographs(real_images: Callable[..., Path]) -> None:
    data = streamed(real_images("imagenette96"), size=64)
    images = np.concatenate([images.numpy() for images, _ in data.train_dataloader()])
    assert abs(images.mean()) < 1.5
    assert 0.3 < images.std() < 2.5
