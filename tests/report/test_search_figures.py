"""The figures of a search: what they show is computed by pure functions, and the files are stable."""

from __future__ import annotations

import itertools
import math
import warnings
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from searches import BS, FOUR, GAMMAS, SPACE, THREE, Made, each_stage, fixed_sizes, heads, pairs
from searches import below_one as below_by_rule

from eca_ablate.report import load_facts, load_points, write_search
from eca_ablate.report.limits import limits
from eca_ablate.report.pair_map import PairMap, borders, label_spot, pair_map, regions
from eca_ablate.report.points import SearchFacts, SearchPoint
from eca_ablate.report.style import LOOKS, plain, scale

CHANNELS = pytest.mark.parametrize("channels", [THREE, FOUR])


@pytest.fixture
def grid_of(tmp_path):
    def make(made: Made) -> PairMap | None:
        made.write(tmp_path)
        return pair_map(load_points(tmp_path), load_facts(tmp_path))

    return make


def grid(*rows: str) -> PairMap:
    """Draw a grid, the first row on top; a blank is a cell without a point."""
    cells = {
        (i, j): SearchPoint(0, "complete", name, {})
        for j, row in enumerate(reversed(rows))
        for i, name in enumerate(row)
        if name != " "
    }
    return PairMap(tuple(range(len(rows[0]))), tuple(range(len(rows))), cells)


@CHANNELS
def test_every_pair_has_its_cell(grid_of, channels):
    found = grid_of(pairs(channels))
    assert (found.gammas, found.bs) == (tuple(GAMMAS), tuple(BS))
    assert len(found.points) == 221
    for (i, j), point in found.points.items():
        assert point.params == {"gamma": GAMMAS[i], "b": BS[j]}
    assert len(regions(found)) == {THREE: 14, FOUR: 23}[channels]
    assert found.cell_of(2, 1) == (4, 10)


@CHANNELS
def test_borders_part_exactly_the_cells_of_different_networks(grid_of, channels):
    found = grid_of(pairs(channels))
    drawn = set(borders(found))
    assert len(drawn) == len(borders(found))
    expected = set()
    for (i, j), (x, y) in itertools.product(found.points, ((1, 0), (0, 1))):
        other = found.points.get((i + x, j + y))
        if other is not None and other.network != found.points[i, j].network:
            start = (i + x / 2 - y / 2, j + y / 2 - x / 2)
            expected.add((start, (start[0] + y, start[1] + x)))
    assert drawn == expected


def test_borders_of_a_small_grid_by_hand():
    found = grid("aab", "a c")
    assert set(borders(found)) == {
        ((0.5, -0.5), (0.5, 0.5)),
        ((1.5, -0.5), (1.5, 0.5)),
        ((1.5, 0.5), (1.5, 1.5)),
        ((0.5, 0.5), (1.5, 0.5)),
        ((1.5, 0.5), (2.5, 0.5)),
    }


def test_cells_that_meet_in_a_corner_are_two_regions():
    found = regions(grid("ab", "ba"))
    assert {network: [len(part) for part in parts] for network, parts in found.items()} == {"a": [1, 1], "b": [1, 1]}
    assert regions(grid("aab", "bab", "aab"))["a"] == [{(1, 0), (0, 0), (1, 1), (1, 2), (0, 2)}]


@CHANNELS
def test_hatched_are_the_pairs_with_t_below_one(grid_of, channels):
    found = grid_of(pairs(channels))
    hatched = {(GAMMAS[i], BS[j]) for i, j in found.below_one()}
    assert hatched == {(gamma, b) for gamma in GAMMAS for b in BS if below_by_rule(channels, gamma, b)}
    assert 0 < len(hatched) < 221


def test_labels_lie_inside_their_regions(grid_of):
    for parts in regions(grid_of(pairs(FOUR))).values():
        spot = label_spot(parts[0], 1.4)
        if spot is not None:
            left, right = math.floor(spot[0] - 0.7 + 0.5), math.floor(spot[0] + 0.7 + 0.5)
            rows = {math.floor(spot[1]), math.ceil(spot[1])}
            assert {(i, j) for i in range(left, right + 1) for j in rows} <= parts[0]


def test_label_has_room_on_every_side_and_avoids_what_is_taken():
    square = set(itertools.product(range(3), range(3)))
    assert label_spot(square, 0.8) == (1, 1)
    assert label_spot({(0, 0), (0, 1)}, 0.8) == (0, 0.5)
    assert label_spot({(0, 0), (0, 1)}, 0.8, taken={(0, 0)}) == (0, 1)
    assert label_spot({(0, 0), (0, 1)}, 1.2) is None
    assert label_spot({(0, 0), (1, 0)}, 1.2) == (0.5, 0)


def test_cells_not_yet_proposed_are_part_of_the_grid(grid_of):
    made = Made(1, space=SPACE, sampler="tpe", trials=2)
    made.add({"gamma": 2.0, "b": 1.0}, "3-3-5")
    made.add({"gamma": 4.0, "b": -4.0}, "1-1-1")
    found = grid_of(made)
    assert (len(found.gammas), len(found.bs), len(found.points)) == (13, 17, 2)
    assert found.network((0, 0)) is None


@pytest.mark.parametrize(
    "params",
    [
        {"gamma": 2},
        {"gamma": 2, "b": 1, "recipe.lr": 0.1},
        {"gamma": "2", "b": 1},
        {"gamma": True, "b": 1},
        {"gamma": math.inf, "b": 1},
    ],
)
def test_other_points_are_no_pairs(params):
    assert pair_map([SearchPoint(0, "complete", "a", params)], SearchFacts()) is None


def test_continuous_ranges_make_no_grid():
    points = [SearchPoint(i, "complete", "a", {"gamma": 1 + i / 7, "b": i / 3}) for i in range(20)]
    assert pair_map(points, SearchFacts(space={"gamma": {"low": 1, "high": 4}, "b": {"low": 0, "high": 7}})) is None
    assert pair_map(points, SearchFacts()) is None


def test_limits_leave_failures_out_and_nothing_else():
    values = [93.0 + i / 10 for i in range(10)]
    assert limits(values) == (93.0, pytest.approx(93.9), "neither")
    assert limits([*values, 10.0]) == (93.0, pytest.approx(93.9), "min")
    assert limits([*values, 150.0], "minimize") == (93.0, pytest.approx(93.9), "max")
    assert limits([*values, math.inf, math.nan]) == (93.0, pytest.approx(93.9), "neither")
    assert limits([10.0, 93.0, 94.0]) == (10.0, 94.0, "neither"), "too few to call one a failure"
    assert limits([]) is None
    low, high, _ = limits([5.0])
    assert low < 5.0 < high


def _root(content: bytes) -> str:
    return ET.fromstring(content).tag  # noqa: S314  (we have just written it)


def _figures(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "figures").iterdir())}


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (pairs(states={"1-1-1": "diverged", "3-5-5": "pruned", "7-7-9": "waiting"}), {"gamma_b", "history"}),
        (fixed_sizes(), {"kernel_size", "history"}),
        (each_stage(), {"importance", "history"}),
        (heads(), {"importance", "history"}),
    ],
)
def test_figures_are_drawn_where_their_points_exist_and_are_stable(tmp_path, made, names):
    write_search(made.write(tmp_path))
    before = _figures(tmp_path)
    assert set(before) == {f"{name}.{ending}" for name in names for ending in ("svg", "png")}
    with matplotlib.rc_context({"svg.hashsalt": "another", "font.size": 20, "lines.linewidth": 7}):
        write_search(tmp_path)
    assert _figures(tmp_path) == before
    for name, content in before.items():
        if name.endswith("svg"):
            assert _root(content).endswith("svg")
            assert b"<dc:date>" not in content
            assert b"matplotlib.org" not in content.lower()


def test_pairs_that_make_no_grid_are_drawn_as_dots(tmp_path):
    made = Made(2, space={"gamma": {"low": 1, "high": 4}, "b": {"low": -4, "high": 4}}, sampler="tpe", trials=12)
    for i in range(12):
        made.add(
            {"gamma": 1 + i / 7, "b": i / 3}, f"{1 + 2 * (i % 4)}-3-3", state="pruned" if i % 4 == 1 else "complete"
        )
    write_search(made.write(tmp_path))
    assert {"gamma_b.svg", "gamma_b.png"} <= set(_figures(tmp_path))


def test_texts_from_outside_are_drawn_as_they_are(tmp_path):
    nasty = "$\\frac{ <b>&amp;</b> 中\n\x1b[31m"
    made = Made(2)
    made.add({"kernel_size": 3}, "3-3-3", label=nasty)
    made.add({"kernel_size": nasty}, nasty, label=nasty, values=[90.0, 91.0])
    made.add({"head": nasty, "kernel_size": 3}, "3-3", label=nasty, values=[90.0, 91.0], network="x")
    made.importance = {"evaluator": nasty * 9, "importance": {nasty: 0.5, "b": math.nan, "c": -1, "d": "x"}}
    with warnings.catch_warnings(action="error"):
        write_search(made.write(tmp_path))
    for name, content in _figures(tmp_path).items():
        if name.endswith("svg"):
            assert _root(content).endswith("svg")
    assert plain("中 $x$\n") == "□ $x$□"
    assert plain("x" * 50, 10) == "x" * 9 + "…"


@pytest.mark.parametrize("content", ["", "[]", '{"importance": {}}', '{"importance": [1]}'])
def test_damaged_importance_costs_its_figure(tmp_path, content):
    fixed_sizes().write(tmp_path)
    (tmp_path / "importance.json").write_text(content)
    with warnings.catch_warnings(action="ignore"):
        write_search(tmp_path)
    assert not (tmp_path / "figures" / "importance.svg").exists()


def test_values_that_cannot_be_drawn_are_left_out(tmp_path):
    made = Made(1, metric="val_loss", direction="minimize")
    for at, loss in enumerate((0.5, math.inf)):
        made.add({"kernel_size": 3 + 2 * at}, f"{3 + 2 * at}-3", values=[90.0])
        made.points[-1]["value"] = made.runs[-1]["val_loss"] = loss
    write_search(made.write(tmp_path))
    assert "kernel_size.svg" in _figures(tmp_path)


# Severe forms of the three kinds of colour blindness: Machado, Oliveira and Fernandes, 2009, for linear RGB.
BLIND = {
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def _lab(colour, kind: str) -> np.ndarray:
    rgb = np.asarray(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(BLIND[kind]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen
    x, y, z = np.cbrt(np.maximum(xyz / [0.9505, 1, 1.089], 1e-4))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", BLIND)
def test_heads_can_be_told_apart(kind):
    for (one, a), (other, b) in itertools.combinations(LOOKS.items(), 2):
        assert np.linalg.norm(_lab(a.colour, kind) - _lab(b.colour, kind)) > 14, (one, other)
    assert len({look.marker for look in LOOKS.values()}) == len(LOOKS)


@pytest.mark.parametrize("kind", BLIND)
def test_better_is_darker(kind):
    lightness = [_lab(scale()(value)[:3], kind)[0] for value in np.linspace(0, 1, 21)]
    assert all(a > b for a, b in itertools.pairwise(lightness))
    assert scale("minimize")(0.0) == scale()(1.0)
