"""Nobody gets in: what is read from outside is data, never a program, and goes nowhere but where it belongs."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import eca_ablate
from eca_ablate.data.archives import read_cifar10, read_imagenette, read_tiny_imagenet
from eca_ablate.data.cache import Entry
from eca_ablate.data.dataset import Listing, Split
from eca_ablate.errors import UserError
from eca_ablate.loading import load_experiment

PACKAGE = Path(eca_ablate.__file__).parent
FORBIDDEN = {
    "eval",
    "exec",
    "compile",
    "os.system",
    "os.popen",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "joblib.load",
    "shelve.open",
    "marshal.loads",
    "pandas.read_pickle",
    "pd.read_pickle",
    "yaml.load",
    "yaml.load_all",
    "yaml.unsafe_load",
    "yaml.full_load",
}
UNPACKING = {"extractall", "extract", "unpack_archive", "extract_archive", "download_and_extract_archive"}


def name_of(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def complaints(source: str) -> Iterator[str]:
    """Yield the calls that make a program of data, a shell of a string, or a file of a name in an archive."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        options = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if name in FORBIDDEN or name.rpartition(".")[2] in UNPACKING:
            yield f"{node.lineno}: {name}"
        if options.get("shell", "False") != "False":
            yield f"{node.lineno}: shell"
        if name.endswith("torch.load") and options.get("weights_only") != "True":
            yield f"{node.lineno}: torch.load without weights_only=True"
        if name in ("np.load", "numpy.load") and options.get("allow_pickle", "False") != "False":
            yield f"{node.lineno}: pickles in arrays"
        if name.endswith("Environment") and "autoescape" not in options:
            yield f"{node.lineno}: templates that do not escape"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_source_calls_nothing_that_runs_what_it_reads(path: Path) -> None:
    assert not list(complaints(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "pickle.load(file)",
        "yaml.load(text, Loader=yaml.Loader)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "subprocess.run(command, shell=True)",
        "archive.extractall(folder)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_the_reader_of_sources_sees_them(source: str) -> None:
    assert len(list(complaints(source))) == 1


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, int]]:
        return os.open, (str(self.path), os.O_CREAT)


def test_the_bomb_goes_off_where_pickles_are_loaded(tmp_path: Path) -> None:
    os.close(pickle.loads(pickle.dumps(Bomb(tmp_path / "gone off"))))  # noqa: S301
    assert (tmp_path / "gone off").exists()


def test_yaml_builds_no_objects(tmp_path: Path) -> None:
    mark = tmp_path / "gone off"
    for text in (
        f"seeds: !!python/object/apply:os.open ['{mark}', 64]",
        f"!!python/object/new:os.system ['touch {mark}']",
        f"data: {{name: digits, root: !!python/object/apply:pathlib.Path.touch ['{mark}']}}",
    ):
        (tmp_path / "x.yaml").write_text(text)
        with pytest.raises(UserError):
            load_experiment(tmp_path / "x.yaml", [])
        with pytest.raises(UserError):
            load_experiment(tmp_path / "absent.yaml", [])
    with pytest.raises(UserError):
        load_experiment(None, ["--seeds", f"!!python/object/apply:os.open ['{mark}', 64]"])
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load("!!python/object/apply:os.getcwd []")
    assert not mark.exists()


def test_a_cache_with_pickles_is_rebuilt_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the checksums beside it agree, since who can write one can write the other."""
    monkeypatch.setenv("ECA_ABLATE_CACHE", str(tmp_path))
    images = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    listing = Listing(("a", "b"), np.array([0, 1]), (Split.TRAIN, Split.TEST), ("0", "1"))
    entry = Entry("name")
    entry.read_or_build(lambda: (listing, images))
    with (entry.folder / "images.npy").open("wb") as file:
        np.save(file, np.array([Bomb(tmp_path / "gone off")], dtype=object), allow_pickle=True)
    content = (entry.folder / "images.npy").read_bytes()
    meta = json.loads((entry.folder / "meta.json").read_text())
    meta["images.npy"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (entry.folder / "meta.json").write_text(json.dumps(meta))
    found = Entry("name").read_or_build(lambda: (listing, images))
    assert found[1].shape == images.shape
    assert not (tmp_path / "gone off").exists()


def members() -> Iterator[tuple[str, bytes]]:
    """Names that lead out of the folder, with a picture that some reader might want."""
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "JPEG")
    for name in ("../../escaped", "/absent/../escaped", "a/../../escaped", "..\\..\\escaped"):
        yield name, picture.getvalue()
        yield f"{name}/train/n01440764/escaped.JPEG", picture.getvalue()
        yield f"{name}/train/n01440764/images/escaped.JPEG", picture.getvalue()


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("read", [read_cifar10, read_imagenette])
def test_a_tar_cannot_write_or_read_outside(tmp_path: Path, read: Callable[..., object]) -> None:
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"\0" * 3073)
    with tarfile.open(place / "bad.tgz", "w:gz") as archive:
        for name, content in members():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name in ("cifar-10-batches-bin/data_batch_1.bin", "imagenette2-160/train/n01440764/x.JPEG"):
            for kind, target in ((tarfile.SYMTYPE, "../../secret"), (tarfile.LNKTYPE, "/etc/passwd")):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, target
                archive.addfile(member)
            for kind in (tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
                member = tarfile.TarInfo(name)
                member.type = kind
                archive.addfile(member)
    before = everything(tmp_path)
    folders = {"folders": ["n01440764", "n02102040"]} if read is read_imagenette else {}
    with pytest.raises(UserError, match=r"bad\.tgz"):
        read(place / "bad.tgz", ["one", "two"], 8, **folders)
    assert everything(tmp_path) == before


def test_a_zip_cannot_write_outside(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    with zipfile.ZipFile(place / "bad.zip", "w") as archive:
        for name, content in members():
            archive.writestr(name, content)
        link = zipfile.ZipInfo("tiny-imagenet-200/val/val_annotations.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    before = everything(tmp_path)
    with pytest.raises(UserError, match=r"bad\.zip"):
        read_tiny_imagenet(place / "bad.zip", ["one"], 8)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("read", [read_cifar10, read_tiny_imagenet])
@pytest.mark.parametrize("content", [b"", b"no archive at all" * 50, b"\x1f\x8b\x08\0", b"PK\x03\x04" + b"\0" * 40])
def test_what_is_no_archive_is_one_clear_error(tmp_path: Path, read: Callable[..., object], content: bytes) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(UserError, match="bad"):
        read(tmp_path / "bad", ["one"], 8)
