"""The cache: where it is, that damage is noticed, and the sets that need none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from eca_ablate.config import DataConfig
from eca_ablate.data import describe, load, prepare
from eca_ablate.data.cache import cache_folder
from eca_ablate.data.sets import moments
from eca_ablate.errors import ConfigError, DataError

Tree = Callable[..., Path]


@pytest.fixture
def config(tree: Tree) -> DataConfig:
    return DataConfig(name="imagefolder", root=str(tree({"a": 8, "b": 8})), image_size=8)


def decoded(cache: Path) -> Path:
    (folder,) = (path for path in (cache / "decoded").iterdir() if path.is_dir())
    return folder


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ECA_ABLATE_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("ECA_ABLATE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "eca_ablate"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "eca_ablate"


@pytest.mark.parametrize("file", ["images.npy", "listing.json", "meta.json"])
@pytest.mark.parametrize("damage", ["cut", "altered", "gone"])
def test_damage_is_noticed_and_mended(config: DataConfig, cache: Path, file: str, damage: str) -> None:
    before = load(config)
    path = decoded(cache) / file
    content = bytearray(path.read_bytes())
    middle = len(content) - 9
    content[middle] = ord("7") if content[middle] != ord("7") else ord("8")
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content if damage == "altered" else content[: len(content) // 2])
    after = load(config)
    assert np.array_equal(before.train.images, after.train.images)
    assert np.array_equal(before.test.labels, after.test.labels)
    assert describe(config).prepared


def test_a_prepared_set_is_not_decoded_again(config: DataConfig, cache: Path) -> None:
    info = prepare(config)
    meta = decoded(cache) / "meta.json"
    stamp = meta.stat().st_mtime_ns
    assert prepare(config) == info == describe(config)
    load(config)
    assert meta.stat().st_mtime_ns == stamp
    assert json.loads(meta.read_text())["images.npy"]["shape"] == [16, 8, 8, 3]
    assert [path.name for path in (cache / "decoded").iterdir() if path.name.startswith(".")] == [
        f".{decoded(cache).name}.lock"  # nothing temporary is left
    ]


def test_a_cache_that_cannot_be_written(config: DataConfig, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(DataError, match="set ECA_ABLATE_CACHE"):
        load(config)


def test_digits_need_no_cache(cache: Path) -> None:
    info, data, raw = describe(DataConfig()), load(DataConfig()), load_digits()
    assert info.prepared
    assert not cache.exists()
    assert (info.num_classes, info.image_size, info.flip) == (10, 8, False)
    assert (len(data.train), len(data.validation), len(data.test)) == (
        info.n_train,
        info.n_validation,
        info.n_test,
    )
    assert info.n_test == sum(round(0.2 * (raw.target == digit).sum()) for digit in range(10))
    everything = np.concatenate([data.train.images, data.validation.images, data.test.images])
    assert len(np.unique(everything.reshape(len(everything), -1), axis=0)) == len(
        np.unique(raw.images.reshape(1797, -1), axis=0)
    )
    assert everything.max() == 255
    assert np.array_equal(everything[..., 0], everything[..., 2])
    assert load(DataConfig(image_size=16)).train.images.shape[1:] == (16, 16, 3)
    assert info.fingerprint == "3218799b862dc4833b0dc8ffd2d63f35"  # the images every installation has


def test_moments_are_exact() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1500, 4, 4, 3), dtype=np.uint8)
    images[..., 2] = 7
    mean, std = moments(images)
    pixels = images.reshape(-1, 3) / 255
    assert np.allclose(mean, pixels.mean(0), rtol=1e-12)
    assert np.allclose(std[:2], pixels[:, :2].std(0), rtol=1e-12)
    assert std[2] == 1


def test_load_refuses_to_stream(tree: Tree) -> None:
    config = DataConfig(name="imagefolder", root=str(tree({"a": 8, "b": 8})), stream=True)
    assert describe(config).prepared
    with pytest.raises(ConfigError, match=r"data\.stream"):
        load(config)
