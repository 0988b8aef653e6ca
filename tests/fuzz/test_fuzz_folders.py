"""Whatever lies in a folder of images: a data set, or one clear error that names the file or folder."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest
from fuzzing import assert_clear, examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eca_ablate.config import DataConfig
from eca_ablate.data import describe, load, prepare
from eca_ablate.data.dataset import DataSet
from eca_ablate.errors import UserError


def picture(mode: str, kind: str, size: tuple[int, int] = (9, 7)) -> bytes:
    content = io.BytesIO()
    Image.new(mode, size).save(content, kind)
    return content.getvalue()


GOOD = [picture("RGB", "JPEG"), picture("L", "PNG"), picture("RGBA", "PNG"), picture("P", "PNG"), picture("1", "PNG")]
GOOD += [picture("I;16", "PNG"), picture("CMYK", "JPEG"), picture("RGB", "WEBP"), picture("RGB", "PNG", (1, 40))]
CONTENTS = (
    st.sampled_from(GOOD)
    | st.builds(lambda content, at: content[: at % len(content)], st.sampled_from(GOOD), st.integers(0, 999))
    | st.builds(
        lambda content, at, byte: content[: at % len(content)] + bytes([byte]) + content[at % len(content) + 1 :],
        st.sampled_from(GOOD),
        st.integers(0, 999),
        st.integers(0, 255),
    )
    | st.binary(max_size=20)
)
PARTS = st.sampled_from([b"train", b"val", b"test", b"valid", b"a", b"b", b"A", b"a b", b".hidden", b"\xff\xfe", b"-"])
PARTS |= st.sampled_from(["é", "e\u0301", "中文", "\n", "$(x)", "'\"", "<b>", "%s{0}"]).map(str.encode)
FILES = st.sampled_from([b"0.jpg", b"1.png", b"2.JPEG", b"3.webp", b"x.txt", b".jpg", b"\xe9.png", b"4.jpg.part", b"a"])
KINDS = st.sampled_from(["file"] * 8 + ["empty folder", "loop", "dangling", "outside", "fifo"])
ENTRIES = st.lists(st.tuples(st.lists(PARTS, max_size=2), FILES, KINDS, CONTENTS), max_size=8)


def grow(root: Path, entries: list[tuple[list[bytes], bytes, str, bytes]], ordinary: bool) -> None:
    root.mkdir()
    if ordinary:  # so that not everything fails for want of two classes
        for place in ("a", "b"):
            (root / place).mkdir()
            for number in range(12):
                (root / place / f"{number}.png").write_bytes(GOOD[1])
    for parts, name, kind, content in entries:
        folder = root.joinpath(*map(os.fsdecode, parts))
        path = folder / os.fsdecode(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if kind == "file":
                with path.open("xb") as file:  # never into a link or a pipe of the same name
                    file.write(content)
            elif kind == "empty folder":
                path.mkdir(exist_ok=True)
            elif kind == "fifo":
                os.mkfifo(path)
            else:
                path.symlink_to({"loop": root, "dangling": "absent", "outside": "/etc/hostname"}[kind])
        except OSError:
            continue  # two entries of one name


@examples(40)
@given(entries=ENTRIES, ordinary=st.booleans(), stream=st.booleans())
def test_a_folder_of_anything(
    entries: list[tuple[list[bytes], bytes, str, bytes]],
    ordinary: bool,
    stream: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    monkeypatch.setenv("ECA_ABLATE_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "images"
    grow(root, entries, ordinary)
    config = DataConfig("imagefolder", root=str(root), image_size=8, stream=stream)
    try:
        describe(config)
        if stream:
            return
        prepare(config)
        found = load(config)
    except UserError as error:
        assert_clear(error)
    else:
        assert isinstance(found, DataSet)
        assert len(found.train.images) == len(found.train.labels) > 0
