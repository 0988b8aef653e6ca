"""The notebooks: committed without outputs, reading results through `eca_ablate.report` only, and running."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LEARNED = ROOT / "notebooks" / "03_what_heads_learn.ipynb"

# In a process of its own, as `jupyter` would be: what the kernel's libraries warn about is not ours to mend.
EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient
path, folder, out = sys.argv[1:]
book = nbformat.read(path, as_version=4)
NotebookClient(book, timeout=60, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
nbformat.write(book, out)
"""
TINY = """
data: {name: digits}
backbone: {name: resnet20, width: 0.25}
recipe: {epochs: 1, batch_size: 64}
seeds: 1
heads: [{name: se, reduction: 2}, se_var3, {name: eca, kernel_size: 3}]
"""

books = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def execute(path: Path, folder: Path, out: Path) -> nbformat.NotebookNode:
    """Run a notebook from top to bottom, and return it with its outputs."""
    place = str(out.parent)
    apart = {"JUPYTER_RUNTIME_DIR": place, "IPYTHONDIR": place, "MPLCONFIGDIR": place}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EXECUTE, str(path), str(folder), str(out)],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, **apart, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return nbformat.read(out, as_version=4)


@books
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert code
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert {cell.execution_count for cell in code} == {None}
    assert all(not cell.metadata for cell in book.cells)
    assert set(book.metadata) <= {"kernelspec", "language_info"}
    assert book.metadata["language_info"] == {"name": "python"}, "no version of the machine it was written on"


@books
def test_a_notebook_reads_results_through_the_report_only(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    tree = ast.parse("\n".join(cell.source for cell in book.cells if cell.cell_type == "code"))
    names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    ours = {name for name in names if name.startswith("eca_ablate")}
    assert ours
    assert all(name.split(".")[:2] == ["eca_ablate", "report"] for name in ours)
    assert not names & {"torch", "lightning", "optuna"}


@pytest.mark.slow
@books
def test_a_notebook_runs_from_top_to_bottom_in_under_a_minute(path: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    book = execute(path, path.parent, tmp_path / "out.ipynb")
    assert time.monotonic() - began < 60
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any({"image/png", "image/svg+xml"} & set(output.get("data", {})) for output in outputs)
    assert not [output for output in outputs if output.get("name") == "stderr"]


@pytest.mark.slow
def test_the_commands_of_the_notebook_make_its_files(tmp_path: Path) -> None:
    """Run the very commands that the notebook gives, on something tiny, and the notebook on what they made."""
    text = nbformat.read(LEARNED, as_version=4).cells[0].source
    commands = re.findall(r"^eca-ablate .*$", text, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["run", "gates", "report"]
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "what_heads_learn.yaml").write_text(TINY)
    for command in commands:
        words = [sys.executable, "-m", "eca_ablate.cli", *shlex.split(command)[1:]]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=200, env=environment)
        assert done.returncode == 0, done.stderr
    folder = tmp_path / "results" / "what_heads_learn"
    assert len(list((folder / "weights").glob("*.pt"))) == 3
    assert len(list((folder / "gates").glob("*.npz"))) == 3
    assert {"learning_curves.svg", "gates.svg", "matrices.svg"} <= {
        path.name for path in (folder / "figures").iterdir()
    }
    (tmp_path / "notebooks").mkdir()
    book = execute(LEARNED, tmp_path / "notebooks", tmp_path / "out.ipynb")
    assert "(n = 1)" in str(book.cells)
