"""`curves.csv` and the learning curves drawn from it."""

from __future__ import annotations

import contextlib
import math
import random
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import make_row

from eca_ablate.errors import UserError
from eca_ablate.report import (
    CURVE_COLUMNS,
    Picture,
    RowsWarning,
    load,
    load_curves,
    write_curves,
    write_pictures,
    write_rows,
)
from eca_ablate.report.curve_figures import band

FILE = "curves.csv"
NAMES = ("learning_curves", "training_loss")


def drawn(folder: Path) -> list[Picture]:
    """Draw all figures; return those of the curves."""
    return [picture for picture in write_pictures(folder, load(folder)) if picture.name in NAMES]


def curve(seed: int = 0, epochs: int = 4, level: float = 90.0) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [
        {
            "epoch": epoch,
            "train_loss": 2.0 / epoch + 0.01 * chance.random(),
            "lr": 0.1 * (1 - epoch / epochs),
            "val_loss": 1.0 / epoch,
            "val_top1": level - 40.0 / epoch + chance.random(),
            "val_top5": 99.0,
        }
        for epoch in range(1, epochs + 1)
    ]


def made(folder: Path, rows: list[dict[str, Any]], **changes: Any) -> Path:
    write_rows(folder, rows)
    write_curves(folder, {row["key"]: curve(row["seed"], **changes) for row in rows})
    return folder


def test_curves_have_the_labels_seeds_and_heads_of_the_rows(tmp_path: Path, table2: list[dict[str, Any]]) -> None:
    curves, rows = load_curves(made(tmp_path, table2)), load(tmp_path)
    assert list(curves.columns) == ["label", "head", "seed", "shared", *CURVE_COLUMNS]
    assert len(curves) == 4 * len(rows)
    runs = curves.drop_duplicates(["label", "seed"])[["label", "head", "seed", "shared", "key"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(runs, rows[["label", "head", "seed", "shared", "key"]])
    assert list(curves["epoch"][:5]) == [1, 2, 3, 4, 1]
    adaptive, own = (curves[curves["label"] == label] for label in ("ECA (adaptive)", "ECA (k=3)"))
    assert adaptive["val_top1"].tolist() == own["val_top1"].tolist()
    assert adaptive["shared"].all()
    assert curves["train_loss"][0] == curve(0)[0]["train_loss"]


def test_the_same_curves_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    curves = {key: curve(seed) for seed, key in enumerate("abc")}
    write_curves(tmp_path / "one", curves)
    write_curves(tmp_path / "two", {key: curves[key][::-1] for key in reversed(curves)})
    assert (tmp_path / "one" / FILE).read_bytes() == (tmp_path / "two" / FILE).read_bytes()
    assert [path.name for path in (tmp_path / "one").iterdir()] == [FILE]


def test_a_folder_of_before_there_were_curves_has_none(tmp_path: Path) -> None:
    write_rows(tmp_path, [make_row()])
    assert load_curves(tmp_path).empty
    assert list(load_curves(tmp_path).columns) == ["label", "head", "seed", "shared", *CURVE_COLUMNS]
    assert drawn(tmp_path) == []


def test_searches_have_curves_of_their_own(tmp_path: Path) -> None:
    write_rows(tmp_path, [make_row(key="searched")], file="search_runs.csv")
    write_curves(tmp_path, {"searched": curve()}, beside="search_runs.csv")
    assert not (tmp_path / FILE).exists()
    assert len(load_curves(tmp_path, "search_runs.csv")) == 4


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"epoch": 0}, "epoch >= 1"),
        ({}, "`epoch` must be a whole number"),
        ({"epoch": 1, "val_top1": 101}, "0 <= val_top1 <= 100"),
        ({"epoch": 1, "accuracy": 3}, "unknown column 'accuracy'"),
        ({"epoch": 2}, "epoch stands once, but 2 comes twice"),
    ],
)
def test_the_writer_refuses_what_could_not_be_read_back(tmp_path: Path, point: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        write_curves(tmp_path, {"a": [{"epoch": 2}, point]})
    assert said in str(caught.value)
    assert "curves['a'][1]" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("key-net-SE-0,3,0.5", "line 5: 7 cells are needed, but got 3"),
        ("key-net-SE-0,x,0.5,0.1,0.5,90,99", "line 5: `epoch` must be a whole number, but got 'x'"),
        ("key-net-SE-0,3,0.5,0.1,0.5,900,99", "line 5: `0 <= val_top1 <= 100` must hold"),
        ("key-net-SE-0,1,0.5,0.1,0.5,90,99", "line 5: epoch 1 of run key-net-SE-0 stands there already"),
        ("stranger,1,0.5,0.1,0.5,90,99\nstranger,2,0.5,0.1,0.5,90,99", "line 5: run stranger has no row"),
    ],
)
def test_a_damaged_line_is_left_out_and_named(tmp_path: Path, line: str, said: str) -> None:
    made(tmp_path, [make_row()], epochs=3)
    with (tmp_path / FILE).open("a") as file:
        file.write(line + "\n")
    with pytest.warns(RowsWarning) as caught:
        assert len(load_curves(tmp_path)) == 3
    assert [said in str(warning.message) for warning in caught] == [True]


@pytest.mark.parametrize("content", ["", "epoch,lr\n1,0.1\n", "key,epoch,epoch\n"])
def test_a_file_without_keys_is_the_users_to_mend(tmp_path: Path, content: str) -> None:
    write_rows(tmp_path, [make_row()])
    (tmp_path / FILE).write_text(content)
    with pytest.raises(UserError, match="line"):
        load_curves(tmp_path)


def test_a_band_reaches_from_the_lowest_seed_to_the_highest_of_those_that_came_so_far(tmp_path: Path) -> None:
    rows = [make_row(seed=seed) for seed in range(3)]
    write_rows(tmp_path, rows)
    values = {0: [10.0, 20.0, 30.0], 1: [40.0, 50.0, 60.0], 2: [70.0, None, None]}
    write_curves(
        tmp_path,
        {
            row["key"]: [{"epoch": at, "val_top1": value} for at, value in enumerate(values[row["seed"]], 1)]
            for row in rows
        },
    )
    found = band(load_curves(tmp_path), "val_top1")
    assert found == ([1, 2, 3], [40.0, 35.0, 45.0], [10.0, 20.0, 30.0], [70.0, 50.0, 60.0], 3)
    assert band(load_curves(tmp_path), "lr").seeds == 0


def test_pictures_are_drawn_and_are_the_same_again(tmp_path: Path, table2: list[dict[str, Any]]) -> None:
    made(tmp_path, table2)
    contents = []
    for _ in range(2):
        found = drawn(tmp_path)
        assert [picture.name for picture in found] == list(NAMES)
        assert all(picture.title and "lowest seed to the highest" in picture.caption for picture in found)
        names = [f"{name}.{end}" for name in NAMES for end in ("svg", "png")]
        contents.append({name: (tmp_path / "figures" / name).read_bytes() for name in names})
    assert contents[0] == contents[1]


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_any_length_and_any_label_can_be_drawn(tmp_path: Path, epochs: int) -> None:
    rows = [make_row("$\\frac{<b>\n中" + "x" * 90), make_row("b", head="none"), make_row("c", head="mine")]
    made(tmp_path, rows, epochs=epochs)
    with warnings.catch_warnings(action="error"):
        assert len(drawn(tmp_path)) == 2


def test_runs_that_diverged_at_once_leave_no_picture(tmp_path: Path) -> None:
    row = make_row(status="diverged", test_top1=None, val_top1=None)
    write_rows(tmp_path, [row])
    write_curves(tmp_path, {row["key"]: [{"epoch": 1, "lr": 0.1}]})
    assert math.isnan(load_curves(tmp_path)["val_top1"][0])
    assert drawn(tmp_path) == []


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_ends_in_a_traceback(content: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 40)))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", RowsWarning)
        write_rows(folder, [make_row()])
        (Path(folder) / FILE).write_bytes(content[:start] + data.draw(st.binary(max_size=40)) + content[end:])
        with contextlib.suppress(UserError):
            assert len(load_curves(folder)) <= 6


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return (made(tmp_path_factory.mktemp("curves"), [make_row()]) / FILE).read_bytes()
