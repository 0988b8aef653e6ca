"""Augmentation against a loop over single images, and batches as functions of (seed, epoch)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torchvision.transforms.v2 as v2
from hypothesis import given
from hypothesis import strategies as st

from eca_ablate.data.augment import (
    Normaliser,
    crop,
    draw_boxes,
    draw_flips,
    draw_offsets,
    generator,
    pad,
    padding,
    resized_crop,
)
from eca_ablate.data.batches import EvalBatches, TrainBatches
from eca_ablate.data.dataset import Part

CPU = torch.device("cpu")


def some_images(count: int, size: int, low: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(count)
    return torch.randint(low, 256, (count, size, size, 3), generator=random, dtype=torch.uint8)


def plain(size: int) -> Normaliser:
    return Normaliser.of((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255), size, CPU)


def batches(count: int = 50, size: int = 8, epoch: int = 0, **options: object) -> TrainBatches:
    part = Part(some_images(count, size).numpy(), np.arange(count, dtype=np.int64))
    settings = {"batch_size": 8, "augment": "crop", "flip": True, "seed": 0, **options}
    return TrainBatches(part, plain(size), epoch=lambda: epoch, device=CPU, **settings)  # type: ignore[arg-type]


def joined(loader: TrainBatches | EvalBatches) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*loader, strict=True)
    return torch.cat(images), torch.cat(labels)


@given(size=st.sampled_from([8, 12, 32]), count=st.integers(1, 6), flip=st.booleans(), seed=st.integers(0, 99))
def test_crop_is_a_loop_over_images(size: int, count: int, flip: bool, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    images = some_images(count, size)
    which = torch.randint(0, count, (2 * count,), generator=random)
    offsets = draw_offsets(len(which), size, random)
    flips = draw_flips(len(which), random) if flip else None
    result = crop(pad(images), which, offsets, flips, size)
    margin = size // 8
    for i, image in enumerate(which.tolist()):
        black = np.zeros((size + 2 * margin, size + 2 * margin, 3), dtype=np.uint8)
        black[margin : margin + size, margin : margin + size] = images[image].numpy()
        top, left = offsets[i].tolist()
        expected = black[top : top + size, left : left + size]
        if flips is not None and flips[i]:
            expected = expected[:, ::-1]
        assert np.array_equal(result[i].numpy(), expected)


def test_crop_reaches_every_offset() -> None:
    drawn = {tuple(pair) for pair in draw_offsets(2000, 32, generator(0, 0, "crop")).tolist()}
    assert drawn == set(itertools.product(range(9), range(9)))
    assert padding(32) == 4


@given(seed=st.integers(0, 999), size=st.sampled_from([8, 17]))
def test_resized_crop_keeps_to_the_image(seed: int, size: int) -> None:
    random = torch.Generator().manual_seed(seed)
    images = some_images(4, size, low=100)
    boxes, flips = draw_boxes(4, random), draw_flips(4, random)
    result = resized_crop(images, boxes, flips)
    low, high = images.amin((1, 2, 3)).float(), images.amax((1, 2, 3)).float()
    assert (result >= low[:, None, None, None] - 1e-3).all()  # no padding shines through
    assert (result <= high[:, None, None, None] + 1e-3).all()
    unflipped = resized_crop(images, boxes, None)
    expected = torch.where(flips[:, None, None, None], unflipped.flip(2), unflipped)
    assert torch.allclose(result, expected, atol=1e-2)


def test_resized_crop_of_the_whole_image_is_the_image() -> None:
    images = some_images(3, 16)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(3, 4)
    assert torch.allclose(resized_crop(images, whole, None), images.float(), atol=1e-3)


def test_resized_crop_enlarges_as_torchvision_does() -> None:
    images = some_images(1, 32)
    result = resized_crop(images, torch.tensor([[8 / 32, 4 / 32, 16 / 32, 20 / 32]]), None)
    planes = images.permute(0, 3, 1, 2).float()
    expected = v2.functional.resized_crop(planes, 8, 4, 16, 20, [32, 32], antialias=False).permute(0, 2, 3, 1)
    inner = slice(2, -2)  # at its border torchvision repeats the box's last pixel, we see the next one
    assert torch.allclose(result[:, inner, inner], expected[:, inner, inner], atol=1e-2)


def test_boxes_follow_torchvisions_distribution() -> None:
    size, count = 1000, 4000
    boxes = draw_boxes(count, generator(0, 0, "resized_crop")).double()
    torch.manual_seed(0)
    image = torch.empty(3, size, size)
    transform = v2.RandomResizedCrop(size)
    theirs = [transform.make_params([image]) for _ in range(count)]
    expected = torch.tensor([[p["top"], p["left"], p["height"], p["width"]] for p in theirs]).double() / size
    assert (boxes >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= 1 + 1e-6).all()
    for facts in (
        lambda b: b[:, 2] * b[:, 3],
        lambda b: (b[:, 3] / b[:, 2]).log(),
        lambda b: b[:, 0],
        lambda b: b[:, 1],
    ):
        ours, reference = facts(boxes).sort().values, facts(expected).sort().values
        # Kolmogorov and Smirnov: two samples of 4,000 of one distribution differ by more once in 10,000 times.
        grid = torch.linspace(float(reference[0]), float(reference[-1]), 200).double()
        distance = torch.searchsorted(ours, grid) - torch.searchsorted(reference, grid)
        assert distance.abs().max() / count < 0.05


@pytest.mark.parametrize("augment", ["none", "crop", "resized_crop"])
def test_batches_are_a_function_of_seed_and_epoch(augment: str) -> None:
    images, labels = joined(batches(augment=augment, epoch=3))
    again = batches(augment=augment, epoch=3)
    next(iter(again))  # an abandoned iteration changes nothing, and neither does the global generator
    torch.manual_seed(1)
    for _ in range(2):
        other_images, other_labels = joined(again)
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)
    for other in (batches(augment=augment, epoch=4), batches(augment=augment, epoch=3, seed=1)):
        assert not torch.equal(labels, joined(other)[1])
    longer = joined(batches(augment=augment, epoch=3, batch_size=25))
    assert torch.equal(longer[0][: len(images)], images)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64


def test_flips_follow_the_recipe() -> None:
    still = batches(count=64, augment="none", flip=False)
    images, labels = joined(still)
    assert torch.equal(images.permute(0, 2, 3, 1).round().to(torch.uint8), still.images[labels])
    mirrored, same = joined(batches(count=64, augment="none", flip=True))
    assert torch.equal(labels, same)  # flips take nothing from the order
    flipped = torch.tensor([not torch.equal(a, b) for a, b in zip(images, mirrored, strict=True)])
    assert 16 < flipped.sum() < 48
    assert torch.equal(mirrored[flipped], images[flipped].flip(3))


def test_the_last_smaller_batch() -> None:
    train = batches(count=50, batch_size=8)
    assert len(train) == len(list(train)) == 6
    assert {len(labels) for _, labels in train} == {8}
    assert sorted(joined(batches(count=48))[1].tolist()) == list(range(48))
    only = batches(count=5, batch_size=8)
    assert len(only) == 1
    assert sorted(joined(only)[1].tolist()) == list(range(5))
    part = Part(some_images(50, 8).numpy(), np.arange(50, dtype=np.int64))
    test = EvalBatches(part, plain(8), 16, CPU)
    assert len(test) == len(list(test)) == 4
    images, labels = joined(test)
    assert labels.tolist() == list(range(50))
    assert torch.equal(images.permute(0, 2, 3, 1).round().to(torch.uint8), test.images)
    assert torch.equal(joined(test)[0], images)  # nothing was overwritten


def test_normalised() -> None:
    images = some_images(20, 8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.1)
    result = Normaliser.of(mean, std, 8, CPU)(images)
    expected = v2.functional.normalize(images.permute(0, 3, 1, 2) / 255, list(mean), list(std))
    assert torch.allclose(result, expected, atol=1e-5)


def test_resume_in_the_middle() -> None:
    whole = list(batches(epoch=2))
    first = batches(epoch=2)
    for _ in zip(range(2), first, strict=False):
        pass
    second = batches(epoch=2)
    second.load_state_dict(first.state_dict())
    rest = list(second)
    assert [labels.tolist() for _, labels in rest] == [labels.tolist() for _, labels in whole[2:]]
    assert len(list(second)) == 6  # once
    elsewhere = batches(epoch=3)
    elsewhere.load_state_dict(first.state_dict())
    assert len(list(elsewhere)) == 6
