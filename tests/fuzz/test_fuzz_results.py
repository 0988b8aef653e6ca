"""Whatever became of the files in a results folder: a table, rows left out with a warning, or one clear error."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzzing import assert_clear, examples
from hypothesis import given
from hypothesis import strategies as st

from eca_ablate.errors import UserError
from eca_ablate.report import load, load_curves
from eca_ablate.report.about import load_about
from eca_ablate.report.points import load_facts, load_points
from eca_ablate.report.rows import RowsWarning
from eca_ablate.report.search_table import read_search

RESULTS = Path(__file__).resolve().parents[2] / "results"
READERS: dict[str, Callable[[Path], Any]] = {
    "runs.csv": load,
    "curves.csv": load_curves,
    "points.csv": load_points,
    "search.json": load_facts,
    "search_runs.csv": read_search,
    "experiment.json": load_about,
}
REAL = {name: sorted(path for path in RESULTS.glob(f"*/{name}") if path.stat().st_size < 2_000_000) for name in READERS}
BITS = st.sampled_from(
    [b"", b",", b'"', b"\n", b"\r", b"\0", b"\xff", b"nan", b"inf", b"-1", b"1e999", b"[]", b"{}", b"null", b"[" * 50]
) | st.binary(max_size=6)


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A change of a file: cut, cut out, doubled, overwritten or put in, at one to three places."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(("cut", "out", "double", "put", "over")),
                st.floats(0, 1),
                st.integers(0, 200),
                BITS,
            ),
            min_size=1,
            max_size=3,
        )
    )

    def change(content: bytes) -> bytes:
        for what, place, length, bits in steps:
            at = int(place * len(content))
            content = {
                "cut": content[:at],
                "out": content[:at] + content[at + length :],
                "double": content[: at + length] + content[at:],
                "put": content[:at] + bits + content[at:],
                "over": content[:at] + bits + content[at + len(bits) :],
            }[what]
        return content

    return change


@pytest.mark.parametrize("name", [name for name in READERS if REAL[name]])
@examples(25)
@given(change=damage(), pick=st.integers(0, 99))
def test_a_damaged_file(name: str, change: Callable[[bytes], bytes], pick: int, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path)
    source = REAL[name][pick % len(REAL[name])]
    tmp_path.mkdir()
    for path in source.parent.iterdir():
        if path.name in READERS:
            content = path.read_bytes()
            lines = content.splitlines(keepends=True)
            short = b"".join(lines[:40]) if path.suffix == ".csv" else content  # enough to see, quick to read
            (tmp_path / path.name).write_bytes(change(short) if path.name == name else short)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RowsWarning)
        try:
            READERS[name](tmp_path)
        except UserError as error:
            assert_clear(error)


@pytest.mark.parametrize("name", list(READERS))
@examples(25)
@given(content=st.binary(max_size=60))
def test_a_file_of_any_bytes(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RowsWarning)
        try:
            READERS[name](tmp_path)
        except UserError as error:
            assert_clear(error)
