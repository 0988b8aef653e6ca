"""Class-per-folder trees of the user's own: what is in them, and a fingerprint of their content."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from torchvision.datasets.folder import is_image_file

from eca_ablate.data.cache import cache_folder
from eca_ablate.data.dataset import Listing, Split
from eca_ablate.data.splits import choose_classes
from eca_ablate.errors import DataError

VALIDATION_NAMES = ("val", "valid", "validation")
LAYOUTS = (
    "ROOT/<class>/*.jpg, ROOT/train/<class>/*.jpg with ROOT/test/<class>/*.jpg or ROOT/val/<class>/*.jpg, or all "
    "three of train, val and test"
)


def scan(root: Path, chosen: Sequence[str] | None) -> Listing:
    """List the images of a tree, in the order of their relative paths (POSIX form), which are the keys.

    Hidden files and folders and files that torchvision does not take for images are passed over.

    Args:
        root: a flat tree of class folders, or one with `train`, `val` (or `valid`, `validation`) and `test`.
        chosen: look at these classes only.

    Raises:
        DataError: if the folder is absent or empty, or its splits or classes do not fit together.
        ConfigError: if a chosen class has no folder.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {what}; `data.root` must be a folder of images laid out as {LAYOUTS}")
    splits = _splits(root)
    classes = choose_classes(_classes(root, splits), chosen)
    if len(classes) < 2:
        raise DataError(
            f"{root} has one class, `{classes[0]}`, but telling classes apart needs at least two; lay the images "
            f"out as {LAYOUTS}"
        )
    labels, parts, keys = [], [], []
    for split, folder in sorted(splits.items(), key=lambda item: item[1].name):
        for label, name in enumerate(classes):
            found = _images(root, folder / name)
            if not found:
                raise DataError(
                    f"{folder / name} has no images; add some, remove the folder, or choose other classes with "
                    "data.classes"
                )
            labels += [label] * len(found)
            parts += [split] * len(found)
            keys += found
    return Listing(classes, np.array(labels, dtype=np.int64), tuple(parts), tuple(keys))


def fingerprint(root: Path, listing: Listing, whole: bool = True) -> str:
    """Return the hash of relative paths and contents, the same wherever the tree lies.

    The hash of each file is kept with its size and time of change, so that only new files are read again.

    Args:
        root: of the tree.
        listing: its images.
        whole: hash every file's bytes. Otherwise relative paths and sizes stand for the content, as for streamed
            trees: reading ImageNet's 150 GB would take longer than noticing that a file was exchanged for another
            one of the same length is worth.

    Raises:
        DataError: if a file cannot be read.
    """
    try:
        facts = (
            _hashes(root, listing.keys)
            if whole
            else [str(os.stat(os.path.join(root, key)).st_size) for key in listing.keys]
        )
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}; mend or remove it") from error
    digest = hashlib.sha256(b"content" if whole else b"sizes")
    for key, fact in sorted(zip(listing.keys, facts, strict=True)):
        digest.update(f"\0{key}\0{fact}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _splits(root: Path) -> dict[Split, Path]:
    """Find the folders of the splits; a flat tree is its own training part."""

    def is_split(name: str) -> bool:  # a class may be called `train`, but it holds images and no folders
        return (root / name).is_dir() and bool(_folders(root / name))

    held_out = [name for name in VALIDATION_NAMES if is_split(name)]
    if len(held_out) > 1:
        raise DataError(f"{root} has both {' and '.join(held_out)}; keep one of them as the validation split")
    train, test = is_split("train"), is_split("test")
    if not (train or test or held_out):
        return {Split.TRAIN: root}
    if not train:
        raise DataError(f"{root} has {'test' if test else held_out[0]} but no train; lay it out as {LAYOUTS}")
    if not (test or held_out):
        raise DataError(
            f"{root} has train but neither test nor val; add one, or point data.root at {root / 'train'}, of which "
            "a fifth is then held out as test"
        )
    splits = {Split.TRAIN: root / "train"}
    if test and held_out:
        splits[Split.VALIDATION] = root / held_out[0]
    splits[Split.TEST] = root / ("test" if test else held_out[0])
    return splits


def _classes(root: Path, splits: dict[Split, Path]) -> list[str]:
    classes = _folders(splits[Split.TRAIN])
    for folder in splits.values():
        missing = sorted(set(classes) - set(_folders(folder)))
        extra = sorted(set(_folders(folder)) - set(classes))
        if missing or extra:
            raise DataError(
                f"the splits of {root} must have the same classes, but {folder.name} "
                + " and ".join(
                    f"{verb} {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
                    for verb, names in (("lacks", missing), ("alone has", extra))
                    if names
                )
            )
    if not classes:
        raise DataError(f"{root} has no class folders; lay the images out as {LAYOUTS}")
    return classes


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _images(root: Path, folder: Path) -> list[str]:
    """Return the images below a folder as paths relative to the root, in order, part by part.

    With strings, not a `Path` a file: a tree is listed before every run.
    """
    found: list[str] = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            link = Path(place, name)
            if link.is_symlink() and _leads_back(link):
                raise DataError(f"{link} is a link back to {link.resolve()}, so the tree has no end; remove it")
        inside = Path(place).relative_to(root).as_posix()
        for name in files:
            if is_image_file(name) and not name.startswith("."):
                if not os.path.isfile(file := os.path.join(place, name)):
                    raise DataError(f"{file} is a pipe, a device or a link to nowhere, and no image; remove it")
                found.append(f"{inside}/{name}")
    return sorted(found, key=lambda key: key.split("/"))


def _leads_back(link: Path) -> bool:
    place, target = link.parent.resolve(), link.resolve()
    return target == place or target in place.parents


def _hashes(root: Path, keys: Sequence[str]) -> list[str]:
    place = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    path = cache_folder() / "hashes" / f"{place}.json"
    known = _known(path)

    facts: dict[str, tuple[int, int, str]] = {}
    new: list[tuple[str, os.stat_result]] = []
    for key in keys:
        stat, before = os.stat(os.path.join(root, key)), known.get(key)
        if before is not None and before[:2] == [stat.st_size, stat.st_mtime_ns]:
            facts[key] = stat.st_size, stat.st_mtime_ns, str(before[2])
        else:
            new.append((key, stat))
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        contents = pool.map(lambda one: hashlib.sha256((root / one[0]).read_bytes()).hexdigest(), new)
        facts |= {
            key: (stat.st_size, stat.st_mtime_ns, content) for (key, stat), content in zip(new, contents, strict=True)
        }
    if new:
        _remember(path, {**known, **facts})
    return [facts[key][2] for key in keys]


def _known(path: Path) -> dict[str, list[int | str]]:
    try:
        known = json.loads(path.read_text())
        return {key: fact for key, fact in known.items() if isinstance(fact, list) and len(fact) == 3}
    except (OSError, ValueError, AttributeError):
        return {}


def _remember(path: Path, facts: dict[str, tuple[int, int, str] | list[int | str]]) -> None:
    """Keep the hashes for the next time; where nothing can be kept, they are simply computed again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", delete=False) as file:
            json.dump(facts, file)
        Path(file.name).replace(path)
    except OSError:
        return
