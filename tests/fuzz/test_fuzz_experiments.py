"""Whatever stands in an experiment file or an override: an experiment, or one clear error."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzzing import assert_clear, examples
from hypothesis import given
from hypothesis import strategies as st

from eca_ablate.config import Experiment
from eca_ablate.errors import UserError
from eca_ablate.loading import load_experiment

ROOT = Path(__file__).resolve().parents[2]
REAL = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "experiments").glob("*.yaml"))]

WORDS = st.sampled_from(
    [
        "data",
        "backbone",
        "recipe",
        "seeds",
        "heads",
        "search",
        "threads",
        "name",
        "root",
        "epochs",
        "lr",
        "eca",
        "se",
        "none",
        "kernel_size",
        "gamma",
        "b",
        "table2",
        "digits",
        "resnet20",
        "auto",
        "null",
        "true",
        "nan",
        ".inf",
        "-1",
        "0",
        "1e309",
        "0x10",
        "1_000",
        "2026-01-01",
        "~",
        "*",
        "&",
        "!",
        "%",
        "@",
        "`",
        "{}",
        "[]",
        "--config",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | WORDS
    | st.dates()
    | st.binary(max_size=4)
)
NAMES = SCALARS.filter(lambda value: value == value)  # NaN is no key
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)


def one_clear_error_or(load: Any) -> None:
    try:
        found = load()
    except UserError as error:
        assert_clear(error)
    else:
        assert isinstance(found, Experiment)


def paths(value: Any) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [(), *((key, *rest) for key, item in value.items() for rest in paths(item))]
    if isinstance(value, list):
        return [(), *((at, *rest) for at, item in enumerate(value) for rest in paths(item))]
    return [()]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Real experiments with one or two places changed, removed, doubled or renamed."""
    tree = copy.deepcopy(draw(st.sampled_from(REAL)))
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from([path for path in paths(tree) if path] or [()]))
        if not place:
            return draw(VALUES)
        parent = tree
        for step in place[:-1]:
            parent = parent[step]
        match draw(st.sampled_from(("change", "remove", "rename", "double"))):
            case "remove":
                del parent[place[-1]]
            case "rename" if isinstance(parent, dict):
                parent[draw(NAMES)] = parent.pop(place[-1])
            case "double" if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[place[-1]]))
            case _:
                parent[place[-1]] = draw(VALUES)
    return tree


@examples(60)
@given(tree=mutated() | VALUES)
def test_a_tree_of_any_shape(tree: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    one_clear_error_or(lambda: load_experiment(file))


@examples(60)
@given(content=st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace")))
def test_a_file_of_any_bytes(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(content)
    one_clear_error_or(lambda: load_experiment(file))


KEYS = st.sampled_from(
    [
        "recipe.epochs",
        "recipe.lr",
        "recipe.precision",
        "recipe",
        "data.name",
        "data.root",
        "data.classes",
        "backbone.width",
        "seeds",
        "heads",
        "threads",
        "search",
        "search.trials",
        "search.space",
        "recipe.absent",
        "heads.0",
        "config",
    ]
)


@examples(60)
@given(
    overrides=st.lists(
        st.tuples(KEYS | st.text(max_size=6), VALUES.map(repr) | st.text(max_size=12) | WORDS).flatmap(
            lambda pair: st.sampled_from([[f"--{pair[0]}", pair[1]], [f"--{pair[0]}={pair[1]}"], [pair[1]]])
        ),
        min_size=1,
        max_size=2,
    )
)
def test_overrides_of_any_kind(overrides: list[list[str]]) -> None:
    one_clear_error_or(lambda: load_experiment(None, [word for pair in overrides for word in pair]))
