"""The figures of the compared heads: what they show is computed by pure functions, and any rows can be drawn."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from made_rows import make_row
from scipy import stats
from searches import pairs

from eca_ablate.errors import UserError
from eca_ablate.report import load, write_rows
from eca_ablate.report.accuracy_pictures import write_accuracy
from eca_ablate.report.drawings import accuracy_speed, accuracy_weights, differences, of_search
from eca_ablate.report.forest import draw_differences, span
from eca_ablate.report.style import LOOKS, save
from eca_ablate.report.tradeoffs import one_machine, side_by_side, spots

ALL = ["differences", "accuracy_weights", "accuracy_speed"]


@pytest.fixture
def loaded(tmp_path: Path):
    def make(rows):
        write_rows(tmp_path, rows)
        return load(tmp_path)

    return make


def names(folder: Path, rows: pd.DataFrame) -> list[str]:
    written = write_accuracy(folder, rows)
    for picture in written:
        assert picture.title
        assert picture.caption.endswith(".")
        for ending in ("svg", "png"):
            assert (folder / "figures" / f"{picture.name}.{ending}").stat().st_size > 3000
    return [picture.name for picture in written]


def test_a_network_is_drawn_once_under_all_of_its_labels(loaded, table2):
    found = spots(loaded(table2))
    assert len(found) == 10
    assert found[-1].label == "ECA (k=3) = ECA (adaptive)"
    assert found[-1].head_weights == 27
    assert {one.others for one in found} == {272_026}


def test_means_and_intervals_are_over_finished_runs(loaded, row):
    accuracies, speeds = [90.0, 92.0, 91.5], [100.0, 104.0, 103.0]
    rows = [
        row(seed=seed, test_top1=accuracy, images_per_second=speed)
        for seed, (accuracy, speed) in enumerate(zip(accuracies, speeds, strict=True))
    ]
    rows.append(row(seed=3, status="diverged", test_top1=None, images_per_second=9.0))
    rows.append(row("Lost", 0, row=1, status="diverged", test_top1=None))
    (found,) = spots(loaded(rows))
    assert (found.label, found.n) == ("SE", 3)
    for mean, reach, values in ((found.accuracy, found.reach, accuracies), (found.speed, found.speed_reach, speeds)):
        theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert (mean - reach, mean + reach) == pytest.approx((theirs.low, theirs.high))


def test_two_runs_have_no_interval(loaded, row):
    (found,) = spots(loaded([row(seed=seed, test_top1=90.0 + seed) for seed in range(2)]))
    assert math.isnan(found.reach)


def test_labels_of_one_head_share_its_colour_and_differ_in_their_marker(loaded, table2):
    groups = [one for one in spots(loaded(table2)) if one.head == "se_gc"]
    assert len(groups) == len({one.fill for one in groups}) == 3
    assert {one.number for one in groups} == {""}
    many = [make_row(f"ECA {k}", 0, row=k, head="eca", head_weights=9 * k) for k in range(1, 20)]
    found = spots(loaded(many))
    assert len({(one.fill, one.number) for one in found}) == 19


def test_equal_places_stand_side_by_side_and_others_stay():
    assert side_by_side([1.0, 3.0, 1.0], 0.5) == [0.75, 3.0, 1.25]
    assert side_by_side([2.0, 2.0, 2.0], 1.0) == [1.0, 2.0, 3.0]
    assert side_by_side([], 1.0) == []


def line(low, difference, high):
    return {"low": low, "difference": difference, "high": high}


def test_the_axis_of_differences_holds_zero_and_all_but_the_farthest():
    nan = math.nan
    assert span([line(-1.0, 1.0, 3.0), line(0.5, 1.5, 2.5)]) == (-1.0, 3.0)
    assert span([line(1.0, 2.0, 3.0)]) == (0.0, 3.0)
    assert span([line(-1.0, 0.0, 1.0)] * 3 + [line(-80.0, -70.0, -60.0)]) == (-10.0, 1.0)
    assert span([line(nan, 0.5, nan)]) == (0.0, 0.5)
    assert span([line(nan, nan, nan)]) == span([line(nan, 0.0, nan)]) == (-1.0, 1.0)


def test_a_forest_has_a_colour_a_line_for_each_label_and_its_verdict(tmp_path):
    compared = pd.DataFrame(
        [
            ("SE", 5, 1.0, 0.5, 1.5, "better"),
            ("SE-Var1", 5, -0.2, -1.0, 0.6, "not distinguishable at n = 5"),
            ("ECA", 5, 0.0, 0.0, 0.0, "same network"),
        ],
        columns=["label", "n", "difference", "low", "high", "verdict"],
    )
    heads = {"SE": "se", "SE-Var1": "se_var1", "ECA": "eca"}
    save(tmp_path / "x", lambda figure: draw_differences(figure, compared, heads, "Vanilla"), 3.5, 2)
    text = (tmp_path / "x.svg").read_text().lower()
    assert LOOKS["se"].colour.lower() in text
    assert LOOKS["se_var1"].colour.lower() in text
    assert LOOKS["eca"].colour.lower() not in text, "what is the same network has no difference to show"


def test_all_figures_of_a_table_and_the_same_bytes_again(loaded, table2, tmp_path):
    rows = loaded(table2)
    assert names(tmp_path, rows) == ALL
    before = {path: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert names(tmp_path, rows) == ALL
    assert before == {path: path.read_bytes() for path in (tmp_path / "figures").iterdir()}


def test_speeds_of_several_machines_are_not_drawn_together(loaded, row, tmp_path):
    rows = loaded([row(seed=0), row("B", 0, row=1, device="NVIDIA H100")])
    assert not one_machine(rows)
    assert names(tmp_path, rows) == ALL[:2]


def thirty():
    for at in range(30):
        for seed in range(3):
            label = "Vanilla" if at == 0 else f"ECA with k = {at} and a label that goes on and on"
            yield make_row(
                label,
                seed,
                row=at,
                head="none" if at == 0 else "eca",
                head_weights=9 * at,
                test_top1=90 + seed + at / 9,
            )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([make_row()], ALL[1:]),
        ([make_row(status="diverged", test_top1=None)], []),
        ([make_row(), make_row("B", 1, row=1)], ALL[1:]),
        ([make_row(head_weights=0), make_row("B", row=1, head_weights=0)], ALL),
        (
            [make_row(head_weights=None, images_per_second=None), make_row("$\\alpha$ 日本", row=1, head_weights=None)],
            ALL,
        ),
        ([make_row(seed=seed, test_top1=99 - 88 * (seed > 7)) for seed in range(9)], ALL[1:]),
        (list(thirty()), ALL),
    ],
    ids=["one run", "diverged", "no common seed", "no weights", "unknown weights", "far apart", "thirty heads"],
)
def test_whatever_rows_there_are(loaded, tmp_path, rows, expected):
    found = names(tmp_path, loaded(rows))
    if any(row["head_weights"] is None for row in rows):
        expected = [name for name in expected if name != "accuracy_weights"]
    assert found == expected


def test_committed_rows_can_be_drawn(tmp_path):
    rows = load(Path(__file__).parents[2] / "results" / "quickstart")
    assert names(tmp_path, rows) == ALL


def test_a_drawing_shows_itself_in_a_notebook_and_can_be_written(loaded, table2, tmp_path):
    rows = loaded(table2)
    for drawing in (differences(rows, "SE"), accuracy_weights(rows), accuracy_speed(rows)):
        content, size = drawing._repr_png_()
        assert content.startswith(b"\x89PNG")
        assert size["width"] / size["height"] == pytest.approx(drawing.width / drawing.height, rel=0.01)
        drawing.save(tmp_path / "mine")
        assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "mine.svg").exists()
    pairs().write(tmp_path)
    assert list(of_search(tmp_path)) == ["gamma_b", "history"]


def test_what_cannot_be_drawn_says_why(loaded, row, tmp_path):
    rows = loaded([row(seed=0), row("B", 0, row=1, device="NVIDIA H100")])
    with pytest.raises(UserError, match="speeds compare on one kind of hardware"):
        accuracy_speed(rows)
    with pytest.raises(UserError, match="a difference needs two rows"):
        differences(rows[rows["label"] == "B"])
    with pytest.raises(UserError, match=r"head_weights"):
        accuracy_weights(loaded([row(head_weights=None)]))
    with pytest.raises(UserError, match=r"images_per_second"):
        accuracy_speed(loaded([row(images_per_second=None)]))
    with pytest.raises(UserError, match=r"needs a points\.csv"):
        of_search(tmp_path)
