"""Every test has a cache of its own; images are real ones where the archives of the README are at hand."""

from __future__ import annotations

import functools
import http.server
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the cache at an empty folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ECA_ABLATE_CACHE", str(folder))
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a class-per-folder tree of small random PNGs."""

    def write(layout: dict[str, int], name: str = "tree", side: int = 10) -> Path:
        random = np.random.default_rng(0)
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        for place, count in layout.items():
            (root / place).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = random.integers(0, 256, (side, side + 2, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / place / f"{i:03d}.png")
        return root

    return write


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """Serve a folder on 127.0.0.1; yields the folder, its URL, and the paths that were downloaded."""
    folder = tmp_path / "served"
    folder.mkdir()
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Method") != "HEAD":  # how torchvision looks for redirects
                asked.append(self.path)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def real_images(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """Return a function that unpacks the first classes of a real archive, at most so many images of each."""

    @functools.cache
    def unpack(name: str, classes: int = 2, each: int = 12) -> Path:
        archive = SHARED / f"{name}.tar.xz"
        if not archive.exists():
            pytest.skip(f"{archive.name} is not in ../shared/data")
        root = tmp_path_factory.mktemp(name)
        counts: dict[str, int] = {}
        with tarfile.open(archive, "r|xz") as members:
            for member in members:
                place, _, file = member.name.rpartition("/")
                if not member.isfile():
                    continue
                if place not in counts and len(counts) == classes:
                    break  # the archive is long, and its first split has all that is needed
                counts[place] = counts.get(place, 0) + 1
                if counts[place] <= each:
                    content = members.extractfile(member)
                    assert content is not None
                    target = root / place.partition("/")[2] / file
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content.read())
        return root

    return unpack
