"""Archives of exactly the published layouts, served on 127.0.0.1: fetched, verified, read, and refused when altered."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eca_ablate.config import DataConfig
from eca_ablate.data import describe, load, names, prepare, sources
from eca_ablate.data.download import Archive
from eca_ablate.errors import DataError

Served = tuple[Path, str, list[str]]
EACH = 3  # training images of each class


def jpeg(random: np.random.Generator, side: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (side, side + 9, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


def tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def records(random: np.random.Generator, labels: list[int], label_bytes: int) -> bytes:
    coarse = [b"\0" * (label_bytes - 1)] * len(labels)
    return b"".join(c + bytes([label]) + random.bytes(3072) for c, label in zip(coarse, labels, strict=True))


def cifar10(path: Path) -> None:
    random = np.random.default_rng(0)
    folder = "cifar-10-batches-bin"
    members = {f"{folder}/batches.meta.txt": b"airplane\n"}
    for i in range(1, 6):
        members[f"{folder}/data_batch_{i}.bin"] = records(random, list(range(10)), 1)
    members[f"{folder}/test_batch.bin"] = records(random, list(range(10)), 1)
    tar(path, members)


def cifar100(path: Path) -> None:
    random = np.random.default_rng(0)
    tar(
        path,
        {
            "cifar-100-binary/test.bin": records(random, list(range(100)), 2),
            "cifar-100-binary/train.bin": records(random, list(range(100)) * EACH, 2),
            "cifar-100-binary/fine_label_names.txt": b"apple\n",
        },
    )


def tiny_imagenet(path: Path) -> None:
    random = np.random.default_rng(0)
    image = [jpeg(random, 64) for _ in range(7)]
    notes = []
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny-imagenet-200/wnids.txt", "\n".join(names.TINY_IMAGENET))
        for number, wnid in enumerate(names.TINY_IMAGENET):
            for i in range(EACH):
                place = f"tiny-imagenet-200/train/{wnid}/images/{wnid}_{i}.JPEG"
                archive.writestr(place, image[(number + i) % 7])
            archive.writestr(f"tiny-imagenet-200/train/{wnid}/{wnid}_boxes.txt", "")
            archive.writestr(f"tiny-imagenet-200/val/images/val_{number}.JPEG", image[number % 7])
            notes.append(f"val_{number}.JPEG\t{wnid}\t0\t0\t9\t9")
            archive.writestr(f"tiny-imagenet-200/test/images/test_{number}.JPEG", image[0])
        archive.writestr("tiny-imagenet-200/val/val_annotations.txt", "\n".join(notes))


def imagenette(path: Path) -> None:
    random = np.random.default_rng(0)
    members = {"imagenette2-160/noisy_imagenette.csv": b"path\n", "imagenette2-160/train/.DS_Store": b""}
    for wnid in reversed(names.IMAGENETTE):
        for i in range(EACH):
            members[f"imagenette2-160/train/{wnid}/{wnid}_{i}.JPEG"] = jpeg(random, 160)
        members[f"imagenette2-160/val/{wnid}/{wnid}_9.JPEG"] = jpeg(random, 160)
    tar(path, members)


WRITERS: dict[str, tuple[Callable[[Path], None], int, int, int]] = {
    "cifar10": (cifar10, 10, 5, 32),
    "cifar100": (cifar100, 100, EACH, 32),
    "tiny_imagenet": (tiny_imagenet, 200, EACH, 64),
    "imagenette": (imagenette, 10, EACH, 128),
}


def publish(served: Served, name: str, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """Serve a small archive under the published name and point the registry at it."""
    folder, url, _ = served
    source = sources.SOURCES[name]  # type: ignore[index]
    assert isinstance(source, sources.Published)
    path = folder / source.archive.filename
    WRITERS[name][0](path)
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    archive = Archive(f"{url}/{path.name}", md5)
    monkeypatch.setitem(sources.SOURCES, name, dataclasses.replace(source, archive=archive))  # type: ignore[arg-type]
    return archive


def test_every_published_set_is_tested() -> None:
    published = {name for name, source in sources.SOURCES.items() if isinstance(source, sources.Published)}
    assert published == set(WRITERS)


@pytest.mark.parametrize("name", WRITERS)
def test_fresh_download(name: str, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = publish(served, name, monkeypatch)
    config = DataConfig(name=name)  # type: ignore[arg-type]
    _, classes, each, size = WRITERS[name]
    before = describe(config)
    assert served[2] == []  # nothing is fetched to describe it
    assert (before.num_classes, before.n_train, before.prepared, before.image_size) == (classes, None, False, size)
    info = prepare(config)
    assert (info.n_train, info.n_validation, info.n_test) == (classes * (each - 1), classes, classes)
    assert (info.fingerprint, info.classes, info.prepared) == (before.fingerprint, before.classes, True)
    data = load(config)
    assert data.train.images.shape == (info.n_train, size, size, 3)
    assert data.test.labels.tolist() == list(range(classes)) or name == "imagenette"
    assert sorted(data.test.labels.tolist()) == list(range(classes))
    assert served[2] == [f"/{archive.filename}"]  # once


def test_cifar_pixels_and_labels(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(served, "cifar10", monkeypatch)
    data = load(DataConfig(name="cifar10"))
    with tarfile.open(next(served[0].iterdir())) as archive:
        member = archive.extractfile("cifar-10-batches-bin/test_batch.bin")
        assert member is not None
        raw = np.frombuffer(member.read(), dtype=np.uint8).reshape(-1, 3073)
    assert data.test.labels.tolist() == raw[:, 0].tolist()
    assert np.array_equal(data.test.images[3, :, :, 1].ravel(), raw[3, 1 + 1024 : 1 + 2048])
    assert load(DataConfig(name="cifar10", image_size=16)).test.images.shape == (10, 16, 16, 3)
    two = load(DataConfig(name="cifar10", classes=("cat", "airplane")))
    assert two.classes == ("airplane", "cat")
    assert np.array_equal(two.test.images, data.test.images[[0, 3]])


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_a_damaged_download_is_refused(
    damage: str, served: Served, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    archive = publish(served, "cifar10", monkeypatch)
    path = served[0] / archive.filename
    content = path.read_bytes()
    bad = content[: len(content) // 2] if damage == "truncated" else content[:-9] + b"123456789"
    path.write_bytes(bad)
    received = hashlib.md5(bad, usedforsecurity=False).hexdigest()
    with pytest.raises(DataError, match=f"{archive.md5} is expected, but {received} was received"):
        prepare(DataConfig(name="cifar10"))
    left = [path.name for path in (cache / "archives").iterdir()]
    assert left == [f".{archive.filename}.lock"]  # nothing half done
    path.write_bytes(content)
    assert prepare(DataConfig(name="cifar10")).prepared


def test_without_network(served: Served, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    archive = publish(served, "cifar10", monkeypatch)
    path = served[0] / archive.filename
    content = path.read_bytes()
    path.unlink()  # the server answers 404
    place = cache / "archives" / archive.filename
    with pytest.raises(DataError, match=re.escape(f"cannot download {archive.url}")) as caught:
        prepare(DataConfig(name="cifar10"))
    assert str(place) in str(caught.value)
    assert archive.md5 in str(caught.value)
    place.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"is not the published file.*delete it"):
        prepare(DataConfig(name="cifar10"))
    place.write_bytes(content)
    assert prepare(DataConfig(name="cifar10")).prepared


def test_refused_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    source = sources.SOURCES["cifar10"]
    assert isinstance(source, sources.Published)
    nowhere = dataclasses.replace(source, archive=Archive("http://127.0.0.1:9/cifar.tar.gz", "0" * 32))
    monkeypatch.setitem(sources.SOURCES, "cifar10", nowhere)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=re.escape("cannot download http://127.0.0.1:9/cifar.tar.gz")):
        prepare(DataConfig(name="cifar10"))


@pytest.mark.slow
def test_two_processes_at_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = publish(served, "cifar10", monkeypatch)
    script = textwrap.dedent(
        f"""
        import dataclasses
        from eca_ablate.config import DataConfig
        from eca_ablate.data import load, sources
        from eca_ablate.data.download import Archive
        archive = Archive({archive.url!r}, {archive.md5!r})
        sources.SOURCES["cifar10"] = dataclasses.replace(sources.SOURCES["cifar10"], archive=archive)
        input()
        print(len(load(DataConfig(name="cifar10")).train))
        """
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    assert [worker.communicate(timeout=120)[0].strip() for worker in workers] == ["40", "40"]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert served[2] == [f"/{archive.filename}"]  # downloaded once
