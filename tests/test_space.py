"""Search spaces: what they enumerate, and what they refuse by the path of its key."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eca_ablate.config import Experiment
from eca_ablate.errors import ConfigError
from eca_ablate.space import Search

RANGES = {"gamma": {"low": 1, "high": 4, "step": 0.25}, "b": {"low": -4, "high": 4, "step": 0.5}}


def test_a_range_with_steps_reaches_both_ends() -> None:
    points = list(Search(space=RANGES).points(stages=3))

    assert len(points) == 13 * 17
    assert {min(p["gamma"] for p in points), max(p["gamma"] for p in points)} == {1.0, 4.0}
    assert {min(p["b"] for p in points), max(p["b"] for p in points)} == {-4.0, 4.0}
    assert max(Counter(tuple(p.items()) for p in points).values()) == 1


@given(low=st.integers(-20, 20), count=st.integers(0, 30), step=st.sampled_from([0.1, 0.25, 0.3, 0.5, 1, 2]))
def test_every_step_of_a_range_is_there_once(low: int, count: int, step: float) -> None:
    search = Search(space={"b": {"low": low, "high": low + count * step, "step": step}})

    values = [point["b"] for point in search.points(stages=1)]

    assert len(values) == count + 1
    assert values == sorted(set(values))
    assert values[-1] == pytest.approx(low + count * step)


def test_each_stage_has_a_kernel_size_of_its_own() -> None:
    search = Search(space={"kernel_size": {"each_stage": [1, 3, 5]}})

    points = list(search.points(stages=3))

    assert len(points) == 27
    assert search.split({"kernel_size_1": 3, "kernel_size_2": 1, "kernel_size_3": 5}) == (
        "eca",
        {"kernel_size": [3, 1, 5]},
        {},
    )


def test_options_depend_on_the_head_that_is_chosen() -> None:
    search = Search(
        head={"none": None, "se": {"reduction": [4, 8]}, "eca": {"kernel_size": [3, 5]}},
        space={"recipe.lr": [0.1, 0.2]},
    )

    points = list(search.points(stages=3))

    assert len(points) == (1 + 2 + 2) * 2
    assert {"head": "none", "recipe.lr": 0.1} in points
    assert {"head": "se", "se.reduction": 8, "recipe.lr": 0.2} in points
    assert search.split(points[-1]) == ("eca", {"kernel_size": 5}, {"lr": 0.2})


@pytest.mark.parametrize(
    ("search", "path", "says"),
    [
        ({"space": {}}, "search.space", "the space is empty"),
        ({"space": {"kernel_size": []}}, "search.space.kernel_size", "the list is empty"),
        ({"space": {"b": {"low": 3, "high": 1, "step": 1}}}, "search.space.b", "low=3, high=1"),
        ({"space": {"b": {"low": 0, "high": 1, "step": 0.3}}}, "search.space.b.step", "skips 1"),
        ({"space": {"b": {"low": 0, "high": 1, "step": -0.5}}}, "search.space.b.step", "step=-0.5"),
        ({"space": {"b": {"low": 0}}}, "search.space.b", "needs `low` and `high`"),
        ({"space": {"b": {"low": 0, "hihg": 1}}}, "search.space.b.hihg", "did you mean `high`?"),
        ({"space": {"b": {"low": "a", "high": 1}}}, "search.space.b.low", "'a'"),
        ({"space": {"b": 3}}, "search.space.b", "{low, high, step}"),
        ({"space": {"kernel_size": [3, 3]}}, "search.space.kernel_size", "[3, 3]"),
        ({"space": {"groups": {"each_stage": [1]}}}, "search.space.groups.each_stage", "kernel_size"),
        ({"space": {"gamma": [1, 2]}, "sampler": "tpe"}, "search.trials", "trials >= 1"),
        ({"space": {"gamma": [1, 2]}, "trials": 3}, "search.trials", "visits every network"),
        ({"space": {"gamma": [1, 2]}, "sampler": "cmaes"}, "search.sampler", "known: all, grid"),
        ({"space": {"gamma": [1, 2]}, "pruner": "mean"}, "search.pruner", "known: none, median"),
        ({"space": {"gamma": [1, 2]}, "metric": "test_top1"}, "search.metric", "takes part in no choice"),
        ({"space": {"gamma": [1, 2]}, "metric": "val_f1"}, "search.metric", "did you mean `val_top1`?"),
        ({"head": {"se": {"reduction": [4]}}, "space": {"gamma": [1]}}, "search.space.gamma", "below their head"),
        ({"head": {"se": {"reduction": [4]}}, "sampler": "grid"}, "search.sampler", "no product"),
        ({"space": {"recipe.lr": {"low": 0, "high": 1, "log": True}}}, "search.space.recipe.lr.log", "above 0"),
    ],
)
def test_a_bad_space_is_refused_by_its_path(search: dict[str, object], path: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Search(**search)  # type: ignore[arg-type]

    assert refused.value.path == path
    assert says in str(refused.value)


def test_a_continuous_range_cannot_be_enumerated() -> None:
    search = Search(space={"gamma": {"low": 1, "high": 2}})

    with pytest.raises(ConfigError, match=r"search\.space\.gamma\.step: a continuous range"):
        list(search.points(stages=1))


def test_an_experiment_compares_heads_or_searches_not_both() -> None:
    with pytest.raises(ConfigError, match="has both"):
        Experiment(heads="table2", search=Search(space={"kernel_size": [3]}))
