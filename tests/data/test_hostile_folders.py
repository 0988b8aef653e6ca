"""Image folders that fuzzing found to hang or to raise what nobody can read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from eca_ablate.config import DataConfig
from eca_ablate.data import prepare
from eca_ablate.errors import DataError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ECA_ABLATE_CACHE", str(tmp_path / "cache"))
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(12):
            Image.new("L", (4, 4)).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as error:
        prepare(DataConfig("imagefolder", root=str(root), image_size=8))
    return str(error.value)


@pytest.mark.timeout(20)
def test_a_pipe_among_images_is_refused_and_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "a" / "x.png")
    assert f"{root / 'a' / 'x.png'} is a pipe, a device or a link to nowhere" in refusal(root)


def test_a_link_to_nowhere_is_refused(root: Path) -> None:
    (root / "a" / "x.png").symlink_to("absent")
    assert "a link to nowhere" in refusal(root)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_links_that_lead_back_are_refused_and_not_followed_forever(root: Path, target: str) -> None:
    for name in ("one", "two"):  # one is followed forty times; two, as often as there are ways to choose
        (root / "a" / name).symlink_to(target)
    assert "is a link back to" in refusal(root)


def test_a_link_to_images_elsewhere_is_followed(root: Path, tmp_path: Path) -> None:
    (root / "b").rename(tmp_path / "elsewhere")
    (root / "b").symlink_to(tmp_path / "elsewhere")
    assert prepare(DataConfig("imagefolder", root=str(root), image_size=8)).classes == ("a", "b")


def test_a_name_that_is_no_unicode_is_said_so_that_it_can_be_stored(root: Path) -> None:
    name = root / "a" / os.fsdecode(b"\xe9.png")
    name.write_bytes(b"no image")
    assert "\\udce9.png is no readable image" in refusal(root)
    assert refusal(root).encode()
