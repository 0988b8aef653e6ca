"""Trees of the user's own: layouts, what is passed over, what is refused, and the fingerprint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eca_ablate.config import DataConfig
from eca_ablate.data import describe, load, prepare
from eca_ablate.data.folder import scan
from eca_ablate.errors import ConfigError, DataError

Tree = Callable[..., Path]


def config(root: Path, **options: object) -> DataConfig:
    return DataConfig(name="imagefolder", root=str(root), **{"image_size": 8, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layout", "counts"),
    [
        ({"a": 20, "b": 10}, (21, 3, 6)),  # a fifth of each class is test, a tenth of the rest validation
        ({"train/a": 20, "train/b": 10, "test/a": 2, "test/b": 3}, (27, 3, 5)),
        ({"train/a": 20, "train/b": 10, "val/a": 2, "val/b": 3}, (27, 3, 5)),
        ({"train/a": 20, "train/b": 10, "valid/a": 1, "valid/b": 2, "test/a": 4, "test/b": 5}, (30, 3, 9)),
        ({"train": 20, "test": 10}, (21, 3, 6)),  # classes that are called like splits
        ({"train/a/x": 10, "train/a/y": 10, "train/b": 10, "test/a": 2, "test/b": 3}, (27, 3, 5)),
    ],
)
def test_layouts(tree: Tree, layout: dict[str, int], counts: tuple[int, int, int]) -> None:
    settings = config(tree(layout))
    before, after = describe(settings), prepare(settings)
    assert (before.n_train, before.n_validation, before.n_test) == counts
    assert not before.prepared
    assert after.prepared
    assert after.fingerprint == before.fingerprint
    data = load(settings)
    assert (len(data.train), len(data.validation), len(data.test)) == counts
    assert data.train.images.shape == (counts[0], 8, 8, 3)
    assert data.train.images.dtype == np.uint8
    assert data.classes == before.classes
    assert set(data.test.labels.tolist()) == {0, 1}


def test_order_is_that_of_paths_part_by_part(tree: Tree) -> None:
    """As `Path` sorts, so that a split does not depend on how the tree is walked: `-` comes before `/` in text."""
    root = tree({"train/a/x": 2, "train/a/x-y": 2, "train/a/x.y": 1, "train/b": 1, "test/a": 1, "test/b": 1})
    keys = scan(root, None).keys
    assert list(keys) == [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.png"))]


def test_images_are_the_files(tree: Tree) -> None:
    root = tree({"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2}, side=8)
    data = load(config(root))
    expected = [root / "test" / name / f"{i:03d}.png" for name in "ab" for i in range(2)]
    for path, image in zip(expected, data.test.images, strict=True):
        assert np.array_equal(np.asarray(Image.open(path))[:, 1:-1], image)  # the centre of 8 x 10 pixels


def test_a_chosen_class_keeps_its_images(tree: Tree) -> None:
    root = tree({"a": 10, "b": 10, "c": 10})
    whole, two = load(config(root)), load(config(root, classes=("c", "a")))
    assert two.classes == ("a", "c")
    for one, other in ((whole.train, two.train), (whole.test, two.test)):
        assert np.array_equal(one.images[one.labels == 2], other.images[other.labels == 1])


def test_hidden_and_other_files_are_passed_over(tree: Tree) -> None:
    root = tree({"a": 5, "b": 5})
    before = describe(config(root))
    (root / "a" / ".hidden.png").write_bytes(b"no image")
    (root / "a" / "notes.txt").write_text("no image")
    (root / ".git").mkdir()
    (root / "a" / ".cache").mkdir()
    shutil.copy(root / "a" / "000.png", root / "a" / ".cache" / "000.png")
    assert describe(config(root)) == before


def test_fingerprint_follows_content_and_not_place(tree: Tree, tmp_path: Path) -> None:
    root = tree({"a": 5, "b": 5})
    first = describe(config(root)).fingerprint
    shutil.copytree(root, tmp_path / "elsewhere")
    assert describe(config(tmp_path / "elsewhere")).fingerprint == first
    assert describe(config(root, fraction=0.9, validation=0.3)).fingerprint == first
    (root / "a" / "000.png").rename(root / "a" / "zzz.png")
    assert describe(config(root)).fingerprint != first
    (root / "a" / "zzz.png").rename(root / "a" / "000.png")
    assert describe(config(root)).fingerprint == first
    shutil.copy(root / "b" / "001.png", root / "a" / "000.png")
    assert describe(config(root)).fingerprint != first


def test_fingerprint_reads_only_what_changed(tree: Tree, cache: Path) -> None:
    root = tree({"a": 5, "b": 5})
    first = describe(config(root)).fingerprint
    path = root / "a" / "000.png"
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert describe(config(root)).fingerprint == first  # the same size and time: not read again
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert describe(config(root)).fingerprint != first
    for kept in (cache / "hashes").iterdir():
        kept.write_text("[damaged")
    assert describe(config(root)).fingerprint != first


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({}, "has no class folders; lay the images out as"),
        ({"a": 3}, "has one class, `a`"),
        ({"a": 3, "b": 0}, r"tree/b has no images"),
        ({"train/a": 3, "train/b": 3, "test/a": 3}, "test lacks b"),
        ({"train/a": 3, "val/a": 3, "val/b": 3}, "val alone has b"),
        ({"train/a": 3, "train/b": 3}, "has train but neither test nor val; add one, or point data.root at"),
        ({"val/a": 3, "val/b": 3}, "has val but no train"),
        ({"train/a": 3, "val/a": 3, "valid/a": 3}, "has both val and valid"),
        ({"a": 3, "b": 2}, "class `b` has 2 training images, but at least 3"),
    ],
)
def test_trees_that_cannot_be_used(tree: Tree, layout: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        describe(config(tree(layout)))


def test_absent_folder_and_unknown_class(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent does not exist; `data.root` must be a folder"):
        describe(config(tmp_path / "absent"))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file is a file"):
        describe(config(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"data.classes: unknown class 'ct' \(did you mean `cat`"):
        describe(config(tree({"cat": 5, "dog": 5}), classes=("ct", "dog")))


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_a_broken_image_is_named(tree: Tree, damage: str) -> None:
    root = tree({"a": 6, "b": 6}, side=40)
    path = root / "b" / "003.png"
    path.write_bytes({"truncated": path.read_bytes()[:900], "text": b"GIF? no", "empty": b""}[damage])
    with pytest.raises(DataError, match=r"b/003.png is no readable image"):
        load(config(root))


def test_grey_palette_and_transparent_images_become_rgb(tree: Tree) -> None:
    root = tree({"a": 5, "b": 5})
    for i, mode in enumerate(("L", "P", "RGBA", "CMYK", "1")):
        Image.open(root / "a" / f"{i:03d}.png").convert(mode).save(root / "a" / f"{i:03d}.tiff")
    assert load(config(root)).train.images.shape[1:] == (8, 8, 3)


def test_real_photographs(real_images: Callable[..., Path]) -> None:
    root = real_images("imagenette96")
    data = load(config(root, image_size=96))
    assert len(data.train) + len(data.validation) + len(data.test) == 24
    assert all(0.2 < mean < 0.8 for mean in data.mean)
    name = data.classes[0]
    files = sorted((root / name).iterdir())
    images = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    assert all(any(np.array_equal(image, known) for known in images) for image in data.train.images[:3])
