"""`points.csv` and `search.json`: the same points give the same bytes, and damage costs the damaged lines only."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import random
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import pairs

from eca_ablate.errors import UserError
from eca_ablate.report import POINT_COLUMNS, RowsWarning, load_facts, load_points, write_points, write_search

FILE = "points.csv"


def point(number: int = 0, **changes):
    given = {"point": number, "state": "complete", "value": 93.5, "network": "a", "params": {"gamma": 2, "b": 1}}
    return {**given, **changes}


def test_columns_stand_in_the_order_of_the_dictionary(tmp_path):
    write_points(tmp_path, [])
    with (tmp_path / FILE).open(newline="") as file:
        assert list(csv.reader(file)) == [list(POINT_COLUMNS)]


def test_same_points_give_same_bytes_in_any_order(tmp_path):
    points = pairs().points
    write_points(tmp_path / "a", points)
    random.Random(0).shuffle(points)
    write_points(tmp_path / "b", points)
    assert (tmp_path / "a" / FILE).read_bytes() == (tmp_path / "b" / FILE).read_bytes()


def test_points_survive_to_the_last_digit(tmp_path):
    params = {"head": "se", "se.reduction": 8, "recipe.lr": 0.1 + 0.2}
    label = 'a "quoted", |label|\nof two lines é 中'
    write_points(
        tmp_path,
        [
            point(value=np.float64(0.1 + 0.2), params=params, label=label, below_one=True, shared_with=None),
            point(1, state="pruned", value=math.nan, params='{"kernel_size": "adaptive"}', shared_with=np.int64(0)),
        ],
    )
    first, second = load_points(tmp_path)
    assert (first.value, first.params, first.label) == (0.1 + 0.2, params, label)
    assert (first.below_one, first.shared_with) == (True, None)
    assert (second.value, second.state, second.below_one, second.shared_with) == (None, "pruned", False, 0)
    assert first.head("eca") == "se"
    assert first.options() == {"reduction": 8, "recipe.lr": 0.1 + 0.2}
    assert second.head("eca") == "eca"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"acuracy": 1}, "unknown column 'acuracy'"),
        ({"valu": 1}, "did you mean `value`"),
        ({"state": "done"}, "complete, pruned, diverged, waiting, but got 'done'"),
        ({"value": None}, "needs a number for `value`"),
        ({"value": "x"}, "`value` must be a number"),
        ({"state": "pruned"}, "only a point that is `complete` has a `value`"),
        ({"network": ""}, "`network` must not be empty"),
        ({"params": "{"}, "`params` must be JSON"),
        ({"params": [1]}, "`params` must be a JSON object"),
        ({"point": -1}, "`point` must be a whole number"),
        ({"shared_with": 1.5}, "`shared_with` must be a whole number"),
        ({"below_one": "maybe"}, "`below_one` must be True or False"),
        ({"point": 0}, "each point stands once, but 0 comes twice"),
    ],
)
def test_writer_refuses_what_could_not_be_read_back(tmp_path, changes, said):
    with pytest.raises(UserError) as caught:
        write_points(tmp_path, [point(), {**point(1), **changes}])
    assert said in str(caught.value)
    assert "points[1]" in str(caught.value)
    assert not (tmp_path / FILE).exists()


def test_damaged_line_costs_that_point(tmp_path):
    write_points(tmp_path, [point(at) for at in range(4)])
    lines = (tmp_path / FILE).read_text().splitlines()
    lines[2] = lines[2].replace("complete", "compl")
    (tmp_path / FILE).write_text("\n".join([*lines[:4], lines[4][:12]]))
    with pytest.warns(RowsWarning) as caught:
        assert [one.point for one in load_points(tmp_path)] == [0, 2]
    assert "line 3: `state` must be one of" in str(caught[0].message)
    assert "line 5: 10 cells are needed, but got" in str(caught[1].message)


@pytest.mark.parametrize(("content", "said"), [(b"", "empty"), (b"a,b\n", "state, network, params is missing")])
def test_unusable_file_is_the_users_to_mend(tmp_path, content, said):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UserError, match=said):
        write_search(tmp_path)


def test_facts_of_the_wrong_type_count_as_missing(tmp_path):
    facts = {"head": {"eca": {}}, "space": [], "trials": True, "seeds": [0, 1], "channels": [0], "metric": "val_loss"}
    (tmp_path / "search.json").write_text(json.dumps(facts))
    found = load_facts(tmp_path)
    assert (found.head, found.space, found.trials, found.channels) == ("", {}, None, ())
    assert (found.metric, found.seeds) == ("val_loss", (0, 1))


@pytest.mark.parametrize("content", [None, "", "[]", "{" * 100_000])
def test_search_without_readable_facts_is_read_with_defaults(tmp_path, content):
    if content is not None:
        (tmp_path / "search.json").write_text(content)
    with pytest.warns(RowsWarning, match="defaults take its place"):
        assert load_facts(tmp_path).metric == "val_top1"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_ends_in_a_traceback(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "damage"
    write_points(folder, [point(at, label="é") for at in range(4)])
    content = (folder / FILE).read_bytes()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 40)))
    (folder / FILE).write_bytes(content[:start] + data.draw(st.binary(max_size=40)) + content[end:])
    with warnings.catch_warnings(action="ignore", category=RowsWarning), contextlib.suppress(UserError):
        load_points(folder)
