"""Image folders through the command line: photographs that are learned, and a streamed tree like ImageNet's."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eca_ablate.report import load

ARCHIVE = Path(__file__).parents[1].parent / "shared" / "data" / "cifar10-jpeg.tar.xz"
EACH = {"train": 150, "test": 60}  # images of a class


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack a part of every class of CIFAR-10."""
    if not ARCHIVE.exists():
        pytest.skip("cifar10-jpeg.tar.xz is not in ../shared/data")
    root = tmp_path_factory.mktemp("cifar10")
    counts: dict[str, int] = {}
    with tarfile.open(ARCHIVE, "r|xz") as members:
        for member in members:
            place, _, file = member.name.rpartition("/")
            if not member.isfile() or place.count("/") != 1:
                continue
            counts[place] = counts.get(place, 0) + 1
            if counts[place] <= EACH[place.partition("/")[0]]:
                content = members.extractfile(member)
                assert content is not None
                target = root / place / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
    return root


def run(text: str, folder: Path, cache: Path) -> str:
    (folder / "experiment.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "eca_ablate.cli", "run", "experiment.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "ECA_ABLATE_CACHE": str(cache)},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_heads_learn_real_photographs(cifar: Path, tmp_path: Path) -> None:
    text = f"""
        data: {{name: imagefolder, root: {cifar}, image_size: 32}}
        backbone: {{name: resnet20, width: 0.5}}
        recipe: {{epochs: 5, batch_size: 32}}
        seeds: 1
        heads: [none, {{name: se, reduction: 4}}, {{name: eca, kernel_size: 3}}]
        """
    said = run(text, tmp_path, tmp_path / "cache")
    assert "3 to train" in said
    rows = load(tmp_path / "results" / "experiment")
    assert list(rows["data_n_test"]) == [600] * 3
    assert set(rows["num_classes"]) == {10}
    assert (rows["test_top1"] > 20).all(), rows[["label", "test_top1"]]  # chance is 10
    assert (rows["test_top5"] > 65).all(), rows[["label", "test_top5"]]  # chance is 50


@pytest.mark.slow
def test_a_tree_of_imagenets_layout_is_streamed(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    root = tmp_path / "imagenet"
    for split, count in (("train", 12), ("val", 4)):
        for label, name in enumerate(("n01440764", "n02102040", "n02979186")):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                height, width = random.integers(70, 140, 2)
                pixels = random.integers(0, 80, (height, width, 3), dtype=np.uint8)
                pixels[..., label] += 150
                Image.fromarray(pixels).save(root / split / name / f"{split}_{i:08d}.JPEG", quality=90)
    text = f"""
        data: {{name: imagefolder, root: {root}, image_size: 64, stream: true}}
        backbone: {{name: resnet18}}
        recipe: {{epochs: 1, batch_size: 8, lr: 0.01}}
        seeds: 1
        heads: [none, {{name: eca, kernel_size: released_resnet18}}]
        """
    run(text, tmp_path, tmp_path / "cache")
    rows = load(tmp_path / "results" / "experiment")
    assert list(rows["status"]) == ["done", "done"]
    assert list(rows["kernel_sizes"]) == ["", "3-5-7-7"]
    assert set(rows["data_n_test"]) == {12}
    assert set(rows["data_n_train"] + rows["data_n_validation"]) == {36}
    assert all('"augment": "resized_crop"' in recipe for recipe in rows["recipe"])
    assert not (tmp_path / "cache" / "decoded").exists()
