"""`runs.csv`: the same rows give the same bytes, and a damaged file costs the damaged rows only."""

from __future__ import annotations

import csv
import math
import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eca_ablate.errors import UserError
from eca_ablate.report import COLUMNS, RowsWarning, load, summarise, write_rows, write_tables

FILE = "runs.csv"


def test_columns_stand_in_the_order_of_the_dictionary(tmp_path, row):
    write_rows(tmp_path, [row()])
    with (tmp_path / FILE).open(newline="") as file:
        assert next(csv.reader(file)) == list(COLUMNS)


def test_same_rows_give_same_bytes_in_any_order(tmp_path, table2):
    write_rows(tmp_path / "a", table2)
    random.Random(0).shuffle(table2)
    write_rows(tmp_path / "b", table2)
    assert (tmp_path / "a" / FILE).read_bytes() == (tmp_path / "b" / FILE).read_bytes()
    assert [path.name for path in (tmp_path / "a").iterdir()] == [FILE], "no part of a file stays behind"


def test_values_survive_to_the_last_digit(tmp_path, row):
    label = 'a "quoted", |label|\nof two lines é 中'
    write_rows(
        tmp_path,
        [
            row(
                label,
                key="k",
                network="n",
                test_top1=0.1 + 0.2,
                test_loss=1e-300,
                val_loss=math.inf,
                train_loss=math.nan,
                macs=2**62 + 1,
                options={"b": 1, "a": [3, 5]},
                code_version=None,
            )
        ],
    )
    (run,) = load(tmp_path).to_dict("records")
    assert run["label"] == label
    assert run["test_top1"] == 0.1 + 0.2
    assert run["test_loss"] == 1e-300
    assert run["val_loss"] == math.inf
    assert math.isnan(run["train_loss"])
    assert run["macs"] == 2**62 + 1
    assert run["options"] == '{"a": [3, 5], "b": 1}'
    assert run["code_version"] == ""


def test_numpy_values_are_written_like_python_ones(tmp_path, row):
    write_rows(tmp_path / "a", [row(test_top1=np.float64(93.1), macs=np.int64(5))])
    write_rows(tmp_path / "b", [row(test_top1=93.1, macs=5)])
    assert (tmp_path / "a" / FILE).read_bytes() == (tmp_path / "b" / FILE).read_bytes()


def test_shared_run_appears_under_each_label_in_the_experiments_order(tmp_path, row):
    further = [
        {"row": 3, "label": "three", "head": "eca", "options": {"gamma": 4, "b": 0}, "formula": "k"},
        {"row": 1, "label": "one", "head": "eca", "options": '{"kernel_size": 3}', "formula": "k"},
    ]
    write_rows(
        tmp_path,
        [
            *(row("zero", seed, head="eca", shared_with=further) for seed in (0, 1)),
            *(row("two", seed, row=2) for seed in (0, 1)),
        ],
    )
    rows = load(tmp_path)
    assert list(rows["label"]) == ["zero", "zero", "one", "one", "two", "two", "three", "three"]
    assert list(rows["seed"]) == [0, 1] * 4
    assert list(rows["shared"]) == [False, False, True, True, False, False, True, True]
    assert rows["options"][2] == '{"kernel_size": 3}'
    assert rows["options"][6] == '{"b": 0, "gamma": 4}'


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"accuracy": 1}, "unknown column 'accuracy'"),
        ({"test_top11": 1}, "did you mean `test_top1`"),
        ({"seed": "x"}, "`seed` must be a whole number, but got 'x'"),
        ({"seed": -1}, "0 <= seed"),
        ({"seed": None}, "`seed` must be a whole number, but got ''"),
        ({"key": ""}, "`key` must not be empty"),
        ({"status": "running"}, "done, diverged"),
        ({"test_top1": None}, "needs a number for `test_top1`"),
        ({"test_top1": 101.0}, "0 <= test_top1 <= 100"),
        ({"macs": 1.5}, "`macs` must be a whole number"),
        ({"recipe": "{"}, "`recipe` must be JSON"),
        ({"shared_with": "{}"}, "must be a JSON list"),
        ({"shared_with": [{"head": "eca"}]}, "objects with a `label`"),
        ({"shared_with": [{"label": "a", "k": 3}]}, "but got k"),
    ],
)
def test_writer_refuses_what_could_not_be_read_back(tmp_path, row, changes, said):
    with pytest.raises(UserError) as caught:
        write_rows(tmp_path, [row(), {**row(seed=1), **changes}])
    assert said in str(caught.value)
    assert "rows[1]" in str(caught.value)
    assert not (tmp_path / FILE).exists()


def test_writer_refuses_a_run_twice_and_leaves_the_old_file(tmp_path, row):
    write_rows(tmp_path, [row()])
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(UserError, match="comes twice"):
        write_rows(tmp_path, [row(), row()])
    assert (tmp_path / FILE).read_bytes() == before


def test_diverged_run_needs_no_accuracy(tmp_path, row):
    write_rows(tmp_path, [row(status="diverged", test_top1=None, val_top1=float("nan"))])
    assert math.isnan(load(tmp_path)["test_top1"][0])


def _lines(folder: Path) -> list[str]:
    return (folder / FILE).read_text(encoding="utf-8").splitlines()


def _damage(folder: Path, lines: list[str]) -> None:
    (folder / FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_half_written_last_line_costs_that_line(tmp_path, row):
    write_rows(tmp_path, [row(seed=seed) for seed in range(3)])
    lines = _lines(tmp_path)
    _damage(tmp_path, [*lines[:3], lines[3][:100]])
    with pytest.warns(RowsWarning, match=r"line 4: .*left out"):
        assert list(load(tmp_path)["seed"]) == [0, 1]


def test_open_quote_does_not_swallow_the_lines_below(tmp_path, row):
    write_rows(tmp_path, [row(seed=seed) for seed in range(4)])
    lines = _lines(tmp_path)
    _damage(tmp_path, [*lines[:2], lines[2].replace("0,SE", '0,"SE', 1), *lines[3:]])
    with pytest.warns(RowsWarning, match=r"line 3: .*left out"):
        assert list(load(tmp_path)["seed"]) == [0, 2, 3]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("94.0", "ninety", "`test_top1` must be a number, but got 'ninety'"),
        ("94.0", "940", "0 <= test_top1 <= 100"),
        ("done", "dome", "`status` must be one of done, diverged"),
        ("40812345", "9" * 5000, "`macs` must be a whole number"),
        ("{}", "[" * 50_000, "`options` must be JSON"),
    ],
)
def test_unparsable_value_is_named_with_its_line(tmp_path, row, old, new, said):
    write_rows(tmp_path, [row(seed=0), row(seed=1)])
    lines = _lines(tmp_path)
    assert old in lines[1]
    _damage(tmp_path, [lines[0], lines[1].replace(old, new, 1), lines[2]])
    with pytest.warns(RowsWarning) as caught:
        assert list(load(tmp_path)["seed"]) == [1]
    assert said in str(caught[0].message)
    assert "line 2" in str(caught[0].message)


def test_second_row_of_a_run_is_left_out(tmp_path, row):
    write_rows(tmp_path, [row()])
    lines = _lines(tmp_path)
    _damage(tmp_path, [*lines, lines[1]])
    with pytest.warns(RowsWarning, match="line 3: run key-net-SE-0 stands in line 2 already"):
        assert len(load(tmp_path)) == 1


def test_second_row_of_a_label_and_seed_is_left_out(tmp_path, row):
    write_rows(tmp_path, [row(key="a"), row(key="b", row=1)])
    with pytest.warns(RowsWarning, match="line 3: seed 0 of 'SE' stands in line 2 already"):
        assert list(load(tmp_path)["key"]) == ["a"]


@pytest.mark.parametrize("name", ["label", "key", "seed"])
def test_missing_required_column_is_refused(tmp_path, row, name):
    write_rows(tmp_path, [row()])
    with (tmp_path / FILE).open(newline="") as file:
        header, cells = csv.reader(file)
    with (tmp_path / FILE).open("w", newline="") as file:
        at = header.index(name)
        csv.writer(file).writerows([header[:at] + header[at + 1 :], cells[:at] + cells[at + 1 :]])
    with pytest.raises(UserError, match=f"line 1: .*{name} is missing"):
        load(tmp_path)


def test_network_and_status_are_derived_where_a_file_lacks_them(tmp_path):
    (tmp_path / FILE).write_text("label,key,seed,test_top1\nA,a0,0,90\nA,a1,1,\nB,b0,0,91\n")
    with pytest.warns(RowsWarning, match="line 1: .*; .*network taken from the label; status taken from the metrics"):
        rows = load(tmp_path)
    assert list(rows["status"]) == ["done", "diverged", "done"]
    assert list(summarise(rows)["n"]) == [1, 1]


def test_other_columns_may_be_missing_or_unknown(tmp_path):
    (tmp_path / FILE).write_text("label,key,network,seed,status,val_top1,test_top1,remark\nB,b,n,0,done,90,91,good\n")
    with pytest.warns(RowsWarning) as caught:
        rows = load(tmp_path)
    said = " ".join(str(warning.message) for warning in caught)
    assert "macs" in said
    assert "unknown column 'remark'" in said
    assert list(rows["remark"]) == ["good"]
    assert summarise(rows)["test_top1_mean"][0] == 91
    with pytest.warns(RowsWarning):
        assert "91.00" in write_tables(tmp_path).read_text()


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path, row):
    write_rows(tmp_path, [row(), row(seed=1)])
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))
    assert len(load(tmp_path)) == 2


@pytest.mark.parametrize(("content", "said"), [(None, "eca-ablate run"), (b"", "empty"), (b"\xff\xfe", "needed")])
def test_unusable_file_is_the_users_to_mend(tmp_path, content, said):
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UserError, match=said):
        load(tmp_path)


def test_no_rows_make_no_table(tmp_path):
    write_rows(tmp_path, [])
    assert load(tmp_path).empty
    assert summarise(load(tmp_path)).empty
    with pytest.raises(UserError, match="at least one run"):
        write_tables(tmp_path)


def _read_or_refuse(content: bytes) -> int | None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", RowsWarning)
        (Path(folder) / FILE).write_bytes(content)
        try:
            rows = load(folder)
            write_tables(folder)
        except UserError:
            return None
        return int((~rows["shared"]).sum())


@pytest.fixture(scope="module")
def content(tmp_path_factory, row) -> bytes:
    folder = tmp_path_factory.mktemp("rows")
    further = [{"row": 1, "label": "é", "head": "eca", "options": {}, "formula": "k"}]
    write_rows(folder, [row("SE", seed, shared_with=further, blocks="[]") for seed in range(3)])
    return (folder / FILE).read_bytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_file_cut_anywhere_keeps_its_whole_rows(content, data):
    end = data.draw(st.integers(0, len(content)))
    whole = content[:end].count(b"\n") - 1
    kept = _read_or_refuse(content[:end])
    if whole >= 1:
        assert kept is not None
        assert whole <= kept <= whole + 1


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_damage_ends_in_a_traceback(content, data):
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 40)))
    _read_or_refuse(content[:start] + data.draw(st.binary(max_size=40)) + content[end:])


@settings(max_examples=50, deadline=None)
@given(junk=st.binary(max_size=300))
def test_random_bytes_end_in_no_traceback(content, junk):
    _read_or_refuse(junk)
    _read_or_refuse(content.split(b"\n")[0] + b"\n" + junk)


def test_report_needs_no_torch():
    code = (
        "import sys; import eca_ablate.report as report; report.summarise; "
        "assert not {'torch', 'lightning', 'optuna', 'jinja2', 'tabulate'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
