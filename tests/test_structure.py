"""The house: a module imports only from rooms below its own, and results can be read without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import eca_ablate

PACKAGE = Path(eca_ablate.__file__).parent

# From the ground up: a module imports only from rooms that stand before its own, or from its own.
ROOMS = (
    "errors",
    "files",
    "allocator",
    "kernel_size",
    "space",
    "config",
    "loading",
    "provenance",
    "heads",
    "backbones",
    "cost",
    "data",
    "machine",
    "lit",
    "curve",
    "report",
    "checkpoint",
    "run",
    "trained",
    "gates",
    "plan",
    "storage",
    "study",
    "search",
    "engine",
    "doctor",
    "display",
    "commands",
    "cli",
)
# Of the rooms before them, these use no others.
ONLY = {
    "errors": set(),
    "files": set(),
    "allocator": set(),
    "kernel_size": set(),
    "space": {"errors"},
    "config": {"errors", "space"},
    "heads": {"errors", "kernel_size"},
    "backbones": {"config", "errors", "heads"},
    "cost": {"backbones", "heads", "errors"},
    "data": {"config", "errors"},
    "lit": {"config", "errors"},
    "curve": {"lit"},
    "report": {"errors", "files", "kernel_size", "config"},
    "checkpoint": {"config", "files", "machine", "provenance"},
}
WITHOUT_TORCH = ("errors", "files", "allocator", "kernel_size", "space", "config", "loading", "provenance", "report")
STANDARD_LIBRARY_ONLY = ("errors", "files", "allocator", "kernel_size", "space", "config", "provenance")
HEAVY = {"torch", "torchvision", "lightning", "torchmetrics", "optuna"}
OPTUNA = {"storage", "study", "search", "engine"}
LIGHTNING = {"data", "lit", "curve", "checkpoint", "run", "trained", "gates", "search", "engine"}


def sources() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything that a module imports, wherever in it, relative names made absolute.

    `from a.b import c` gives `a.b.c`, since c may be a module.
    """
    package = ["eca_ablate", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    """Return the rooms that a module imports from; names of the package itself, such as its version, are none."""
    found = {name.split(".")[1] for name in imports(path) if name.startswith("eca_ablate.")}
    homes = {name: home.partition(".")[0] for name, home in eca_ablate._HOMES.items()}
    return {homes.get(name, name) for name in found} - {"__version__"}


def outside(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)} - {"eca_ablate"}


modules = pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))


@modules
def test_every_module_stands_in_a_room(path: Path) -> None:
    assert room_of(path) in {*ROOMS, "__init__"}, "a new room needs its place in ROOMS"


@modules
def test_a_module_imports_only_from_rooms_before_its_own(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        assert rooms_imported(path) == set(), "the package loads its names on first use"
        return
    allowed = {room, *ROOMS[: ROOMS.index(room)]}
    if room in ONLY:
        allowed &= {room, *ONLY[room]}
    assert rooms_imported(path) <= allowed


@modules
def test_what_stands_outside_is_used_where_it_belongs(path: Path) -> None:
    room, used = room_of(path), outside(path)
    if room in WITHOUT_TORCH or room == "__init__":
        assert not used & HEAVY
    if room in STANDARD_LIBRARY_ONLY:
        assert used <= sys.stdlib_module_names
    if "optuna" in used:
        assert room in OPTUNA
    if "lightning" in used:
        assert room in LIGHTNING
    if room == "report":
        assert "subprocess" not in used


def test_the_reader_of_imports_reads_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heads").mkdir()
    path = tmp_path / "heads" / "x.py"
    path.write_text(
        "import eca_ablate.cost as c, torch.nn\n"
        "from .base import Head\n"
        "from ..config import Recipe\n"
        "from .. import data, build_head\n"
        "from eca_ablate import __version__, attach\n"
        "def late():\n    from optuna import Trial\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    assert rooms_imported(path) == {"cost", "heads", "config", "data", "backbones"}
    assert outside(path) == {"torch", "optuna"}


def test_names_of_the_package_load_on_first_use() -> None:
    assert set(eca_ablate._HOMES) < set(eca_ablate.__all__)
    for name in eca_ablate.__all__:
        assert getattr(eca_ablate, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'attech'"):
        eca_ablate.attech  # noqa: B018
    assert {home.partition(".")[0] for home in eca_ablate._HOMES.values()} <= set(ROOMS)


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_a_fresh_process_reads_without_torch(room: str) -> None:
    if not list(PACKAGE.glob(f"{room}*")):
        pytest.skip(f"there is no room `{room}`")
    program = f"import sys, eca_ablate.{room}; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, cwd=PACKAGE.parent
    )
    assert done.stdout.strip() == "[]"
