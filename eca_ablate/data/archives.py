"""Read the published archives member by member; nothing is ever extracted onto the disk, and nothing unpickled."""

from __future__ import annotations

import functools
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from eca_ablate.data.dataset import Images, Listing, Split
from eca_ablate.data.decode import decode_all, resize_all
from eca_ablate.errors import DataError

CIFAR_SIDE = 32
Read = Callable[..., tuple[Listing, Images]]
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, LookupError, ValueError, RuntimeError)


def _named(read: Read) -> Read:
    """Let a reader say of every archive that it cannot read which one it is."""

    @functools.wraps(read)
    def named(path: Path, *arguments: Any, **keywords: Any) -> tuple[Listing, Images]:
        try:
            return read(path, *arguments, **keywords)
        except DataError:
            raise
        except _DAMAGED as error:
            raise DataError(f"{path} is no archive of this data set, or damaged: {error}; remove it") from error

    return named


@_named
def read_cifar10(path: Path, classes: Sequence[str], size: int) -> tuple[Listing, Images]:
    """Read `cifar-10-binary.tar.gz`: records of one label byte and 3 x 32 x 32 planar pixels."""
    batches = [f"data_batch_{i}.bin" for i in range(1, 6)]
    return _read_cifar(path, classes, size, "cifar-10-batches-bin", batches, "test_batch.bin", label_bytes=1)


@_named
def read_cifar100(path: Path, classes: Sequence[str], size: int) -> tuple[Listing, Images]:
    """Read `cifar-100-binary.tar.gz`: records of a coarse and a fine label byte and 3 x 32 x 32 planar pixels."""
    return _read_cifar(path, classes, size, "cifar-100-binary", ["train.bin"], "test.bin", label_bytes=2)


@_named
def read_tiny_imagenet(path: Path, classes: Sequence[str], size: int) -> tuple[Listing, Images]:
    """Read `tiny-imagenet-200.zip`; its `val` is the test set, since its `test` has no labels."""
    found: list[tuple[str, Split, str]] = []
    with zipfile.ZipFile(path) as archive:
        members = {PurePosixPath(name).parts[1:]: name for name in archive.namelist()}
        for parts in sorted(members):
            if len(parts) == 4 and parts[0] == "train" and parts[2] == "images":
                found.append((parts[1], Split.TRAIN, members[parts]))
        notes = members.get(("val", "val_annotations.txt"))
        if notes is None:
            raise DataError(f"{path} has no val/val_annotations.txt, so its test images have no labels")
        for line in archive.read(notes).decode().splitlines():
            name, wnid = line.split("\t")[:2]
            found.append((wnid, Split.TEST, members[("val", "images", name)]))
        return _decode(path, found, [archive.read(name) for _, _, name in found], list(classes), classes, size)


@_named
def read_imagenette(path: Path, classes: Sequence[str], size: int, folders: Sequence[str]) -> tuple[Listing, Images]:
    """Read `imagenette2-160.tgz`; its `val` is the test set."""
    found: list[tuple[str, Split, str]] = []
    contents: list[bytes] = []
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            parts = PurePosixPath(member.name).parts[-3:]
            if not member.isfile() or len(parts) != 3 or parts[0] not in ("train", "val"):
                continue
            if parts[1] in folders and not parts[2].startswith("."):
                file = archive.extractfile(member)
                assert file is not None  # noqa: S101  (it is a regular file)
                found.append((parts[1], Split.TRAIN if parts[0] == "train" else Split.TEST, "/".join(parts)))
                contents.append(file.read())
    order = sorted(range(len(found)), key=lambda i: found[i][2])
    return _decode(path, [found[i] for i in order], [contents[i] for i in order], folders, classes, size)


def _read_cifar(
    path: Path, classes: Sequence[str], size: int, folder: str, train: list[str], test: str, label_bytes: int
) -> tuple[Listing, Images]:
    content: dict[str, bytes] = {}
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            place = PurePosixPath(member.name)
            if member.isfile() and place.parent.name == folder and place.name in (*train, test):
                file = archive.extractfile(member)
                assert file is not None  # noqa: S101  (it is a regular file)
                content[place.name] = file.read()
    images, labels, parts = [], [], []
    for name in (*train, test):
        if name not in content:
            raise DataError(f"{path} has no {folder}/{name}")
        record = label_bytes + 3 * CIFAR_SIDE**2
        rows = np.frombuffer(content[name], dtype=np.uint8)
        if len(rows) == 0 or len(rows) % record:
            raise DataError(f"{path}: {name} should be a multiple of {record} bytes, but has {len(rows)}")
        rows = rows.reshape(-1, record)
        labels.append(rows[:, label_bytes - 1].astype(np.int64))
        images.append(rows[:, label_bytes:].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE).transpose(0, 2, 3, 1))
        parts += [Split.TEST if name == test else Split.TRAIN] * len(rows)
    every = np.concatenate(labels)
    if every.max() >= len(classes):
        raise DataError(f"{path}: labels go up to {every.max()}, but there are {len(classes)} classes")
    keys = tuple(str(position) for position in range(len(every)))
    pixels = np.ascontiguousarray(np.concatenate(images))
    return Listing(tuple(classes), every, tuple(parts), keys), resize_all(pixels, size)


def _decode(
    path: Path,
    found: list[tuple[str, Split, str]],
    contents: list[bytes],
    folders: Sequence[str],
    classes: Sequence[str],
    size: int,
) -> tuple[Listing, Images]:
    number = {folder: label for label, folder in enumerate(folders)}
    missing = sorted(set(folders) - {folder for folder, _, _ in found})
    unknown = sorted({folder for folder, _, _ in found} - set(folders))
    if missing or unknown:
        raise DataError(f"{path} lacks the classes {missing[:5]} and has the unknown classes {unknown[:5]}")
    listing = Listing(
        classes=tuple(classes),
        labels=np.array([number[folder] for folder, _, _ in found], dtype=np.int64),
        parts=tuple(split for _, split, _ in found),
        keys=tuple(key for _, _, key in found),
    )
    names = [f"{path}: {key}" for key in listing.keys]
    return listing, decode_all(names, contents.__getitem__, size, f"decoding {path.name}")
