"""What is written down agrees with what is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from eca_ablate.loading import load_experiment
from eca_ablate.report import COLUMNS, CURVE_COLUMNS, Column

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))


@pytest.mark.parametrize(("file", "columns"), [("runs.csv", COLUMNS), ("curves.csv", CURVE_COLUMNS)])
def test_the_data_dictionary_has_every_column(file: str, columns: Mapping[str, Column]) -> None:
    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## Columns of `{file}`\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    expected = [f"| `{name}` | {column.unit} | {column.kind} | {column.meaning} |" for name, column in columns.items()]
    assert table == ["| column | unit | kind | meaning |", "| :-- | :-- | :-- | :-- |", *expected]


def test_the_tree_in_the_readme_has_every_room() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = text.partition("\neca_ablate/\n")[2].partition("\nexperiments/")[0]
    named = {line.split()[0].rstrip("/") for line in tree.splitlines()}
    package = [path for path in (ROOT / "eca_ablate").iterdir() if not path.name.startswith("_")]
    assert named == {path.name for path in package if path.is_dir() or path.suffix == ".py"}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_asks_a_question_and_loads(path: Path) -> None:
    header = path.read_text(encoding="utf-8").splitlines()
    assert header[0].startswith("# ")
    assert header[0].endswith("?")
    assert header[1].startswith(f"# Run:      eca-ablate run experiments/{path.name}")
    load_experiment(path, ["--data.root", "images"] if "--data.root DIR" in header[1] else [])


def test_the_table_in_the_readme_is_the_one_that_was_measured() -> None:
    table = (ROOT / "results" / "quickstart" / "table.md").read_text(encoding="utf-8").partition("\n\n")[0]
    assert table in (ROOT / "README.md").read_text(encoding="utf-8")
