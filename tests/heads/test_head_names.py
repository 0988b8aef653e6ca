"""The registry: names, labels, descriptions, costs and errors of every head."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from head_cases import ALL, CASES, ROWS, build, identify, maps, over, same
from hypothesis import given
from hypothesis import strategies as st

from eca_ablate.config import TABLE2
from eca_ablate.heads import HEADS, build_head, head_class, head_label, head_options
from eca_ablate.heads.base import Head, NoHead
from eca_ablate.heads.eca import ECA, ECANS
from eca_ablate.heads.se import SE, SEGC, SEVar1, SEVar2, SEVar3


def test_every_head_has_its_entries_here() -> None:
    assert set(CASES) == set(HEADS), "a head needs an entry in CASES"
    assert set(ROWS) == set(HEADS), "a head needs an entry in ROWS"
    assert all(CASES.values())


def test_heads_are_registered_under_their_names() -> None:
    assert {name: head.name for name, head in HEADS.items()} == {name: name for name in HEADS}
    assert len({head.title for head in HEADS.values()}) == len(HEADS)


@over(ALL)
def test_a_description_rebuilds_the_head_it_describes(name: str, channels: int, options: dict[str, Any]) -> None:
    head = build(name, channels, options)
    description = head.description()
    rebuilt = build_head(**{**description, "channels": channels})
    assert rebuilt.description() == description
    assert rebuilt.cost() == head.cost()
    rebuilt.double()
    for mine, theirs in zip(rebuilt.parameters(), head.parameters(), strict=True):
        mine.data = theirs.data.reshape(mine.shape)
    same(head, rebuilt, channels)


@pytest.mark.parametrize(
    ("name", "channels", "options", "description"),
    [
        ("se", 32, {}, {"name": "se", "reduction": 16}),
        ("se_gc", 16, {"groups": 16}, {"name": "se_var2"}),
        ("se_gc", 16, {"group_channels": 16}, {"name": "se_var3"}),
        ("se_gc", 256, {"group_channels": 16}, {"name": "se_gc", "groups": 16}),
        ("eca_ns", 16, {"kernel_size": 1}, {"name": "se_var2"}),
        ("eca", 64, {}, {"name": "eca", "kernel_size": 3}),
        ("eca", 2048, {"rounding": "nearest"}, {"name": "eca", "kernel_size": 5}),
        ("eca", 2048, {"gamma": 2.0, "b": 1}, {"name": "eca", "kernel_size": 7}),
        ("eca", 64, {"gamma": 1}, {"name": "eca", "kernel_size": 7}),
        ("eca", 64, {"b": 3.5}, {"name": "eca", "kernel_size": 5}),
    ],
    ids=identify,
)
def test_the_same_function_has_the_same_description(
    name: str, channels: int, options: dict[str, Any], description: dict[str, Any]
) -> None:
    assert build_head(name, channels, **options).description() == description


def test_adaptive_eca_is_a_constructor_of_its_own() -> None:
    assert ECA.adaptive(2048).kernel_size == 7
    assert ECA.adaptive(2048, rounding="nearest").kernel_size == 5
    assert ECA.adaptive(64, gamma=1, b=1).kernel_size == 7


def test_options_by_head() -> None:
    assert {name: head_options(name) for name in HEADS} == {
        "none": [],
        "se": ["reduction"],
        "se_var1": [],
        "se_var2": [],
        "se_var3": [],
        "se_gc": ["groups", "group_channels"],
        "eca_ns": ["kernel_size"],
        "eca": ["kernel_size", "gamma", "b", "rounding"],
    }


def test_labels() -> None:
    assert head_label("none", {}) == "Vanilla"
    assert head_label("se", {}) == "SE"
    assert head_label("se", {"reduction": 8}) == "SE (r=8)"
    assert head_label("se_gc", {"group_channels": 8}) == "SE-GC (C/G=8)"
    assert head_label("eca", {}) == "ECA (adaptive)"
    assert head_label("eca", {"kernel_size": (3, 5, 5, 7)}) == "ECA (k=3-5-5-7)"
    assert head_label("eca", {"gamma": 2, "b": 1}) == "ECA (γ=2, b=1)"


@pytest.mark.parametrize("row", TABLE2, ids=lambda row: row["label"])
@pytest.mark.parametrize("channels", [256, 512, 1024, 2048])
def test_table2_in_three_witnesses(row: dict[str, Any], channels: int) -> None:
    """The paper's column "#Param", the head's own formula for it, and the tensors."""
    printed, weights = {
        "Vanilla": ("0", 0),
        "SE": ("2C²/16", channels**2 // 8),
        "SE-Var1": ("0", 0),
        "SE-Var2": ("C", channels),
        "SE-Var3": ("C²", channels**2),
        "SE-GC1": ("C²/16", channels**2 // 16),
        "SE-GC2": ("16C", 16 * channels),
        "SE-GC3": ("8C", 8 * channels),
        "ECA-NS": ("kC", 3 * channels),
        "ECA (k=3)": ("k", 3),
        "ECA (adaptive)": ("k", {256: 5, 512: 5, 1024: 5, 2048: 7}[channels]),
    }[row["label"]]
    options = {key: value for key, value in row.items() if key not in ("name", "label")}
    with torch.device("meta"):
        head = build_head(row["name"], channels, **options)
    assert head_class(row["name"]).formula(**options) == printed
    assert sum(weight.numel() for weight in head.parameters()) == head.cost().weights == weights


# --- errors


@pytest.mark.parametrize(
    ("name", "channels", "options", "fragments"),
    [
        ("eca", 64, {"kernel_size": 4}, ["`kernel_size` must be odd to keep 64 channels, but got 4; try 3 or 5"]),
        ("eca_ns", 64, {"kernel_size": 2}, ["must be odd", "but got 2; try 1 or 3"]),
        ("eca", 4, {"kernel_size": 9}, ["`kernel_size <= 2C - 1` must hold", "got 9 for C = 4", "largest is 7"]),
        ("eca_ns", 4, {"kernel_size": 9}, ["`kernel_size <= 2C - 1` must hold", "largest is 7"]),
        ("eca", 4, {"gamma": 0.1}, ["`kernel_size <= 2C - 1` must hold", "largest is 7"]),
        ("eca", 64, {"kernel_size": 0}, ["`kernel_size >= 1` must hold, but got 0"]),
        ("eca", 64, {"kernel_size": -3}, ["`kernel_size >= 1` must hold, but got -3"]),
        ("eca", 64, {"kernel_size": True}, ["`kernel_size` must be a whole number, but got True"]),
        ("eca_ns", 64, {"kernel_size": "3"}, ["`kernel_size` must be a whole number, but got '3'"]),
        ("eca", 64, {"kernel_size": 3.0}, ["`kernel_size` must be a whole number, but got 3.0"]),
        ("eca", 64, {"kernel_size": [3, 5, 5, 7]}, ["`kernel_size` must be a whole number, but got [3, 5, 5, 7]"]),
        ("eca", 64, {"kernel_size": 3, "gamma": 2}, ["either `kernel_size` or", "kernel_size=3 and gamma=2"]),
        ("eca", 64, {"kernel_size": 3, "rounding": "code"}, ["either `kernel_size` or", "rounding=code"]),
        ("eca", 64, {"gamma": 0}, ["`gamma > 0` must hold, but got 0"]),
        ("eca", 64, {"gamma": -2}, ["`gamma > 0` must hold, but got -2"]),
        ("eca", 64, {"gamma": "2"}, ["`gamma` must be a number, but got '2'"]),
        ("eca", 64, {"b": True}, ["`b` must be a number, but got True"]),
        ("eca", 64, {"b": math.nan}, ["`b` must be finite, but got nan"]),
        ("eca", 64, {"rounding": "neerest"}, ["`rounding` must be `code` or `nearest`, but got 'neerest'"]),
        ("se", 24, {}, ["`reduction` must divide the 24 channels, but got 16"]),
        ("se", 8, {}, ["`reduction` must divide the 8 channels, but got 16"]),
        ("se", 64, {"reduction": 0}, ["`reduction >= 1` must hold, but got 0"]),
        ("se", 64, {"reduction": 4.0}, ["`reduction` must be a whole number, but got 4.0"]),
        ("se_gc", 24, {"groups": 16}, ["`groups` must divide the 24 channels, but got 16"]),
        ("se_gc", 24, {"group_channels": 16}, ["`group_channels` must divide the 24 channels, but got 16"]),
        ("se_gc", 24, {"group_channels": 0}, ["`group_channels >= 1` must hold, but got 0"]),
        ("se_gc", 24, {"groups": True}, ["`groups` must be a whole number, but got True"]),
        ("se_gc", 24, {"groups": 2, "group_channels": 12}, ["either `groups` or `group_channels`", "groups=2 and"]),
        ("se_gc", 24, {}, ["either `groups` or `group_channels`", "groups=None and group_channels=None", "groups: 16"]),
        ("eca", 0, {"kernel_size": 3}, ["`channels >= 1` must hold, but got 0"]),
        ("eca", 0, {}, ["`channels >= 1` must hold, but got 0"]),
        ("se", 64.0, {}, ["`channels` must be a whole number, but got 64.0"]),
        ("ecaa", 64, {}, ["unknown head 'ecaa' (did you mean `eca`?)", *HEADS]),
        ("cbam", 64, {}, ["unknown head 'cbam'; known: none, se"]),
        (
            "eca",
            64,
            {"kernel": 3},
            ["`eca`: unknown option 'kernel' (did you mean `kernel_size`?)", "gamma, b, rounding"],
        ),
        ("se_gc", 64, {"gruops": 3}, ["`se_gc`: unknown option 'gruops' (did you mean `groups`?)", "group_channels"]),
        ("se_var3", 64, {"reduction": 4}, ["`se_var3`: it has none, but got `reduction`"]),
        ("none", 64, {"k": 3}, ["`none`: it has none, but got `k`"]),
    ],
    ids=identify,
)
def test_errors_state_the_invariant_the_value_and_the_way_out(
    name: str, channels: int, options: dict[str, Any], fragments: list[str]
) -> None:
    with pytest.raises(ValueError) as error:
        build_head(name, channels, **options)
    for fragment in fragments:
        assert fragment in str(error.value)


@given(st.sampled_from(["eca", "eca_ns"]), st.integers(1, 12), st.integers(1, 40))
def test_a_kernel_size_builds_or_its_error_proposes_one_that_does(name: str, channels: int, k: int) -> None:
    if k % 2 and k < 2 * channels:
        assert build_head(name, channels, kernel_size=k)(maps(channels, dtype=torch.float32)).shape[1] == channels
        return
    with pytest.raises(ValueError) as error:
        build_head(name, channels, kernel_size=k)
    proposed = [int(word) for word in str(error.value).rpartition("; ")[2].split() if word.isdigit()]
    assert proposed
    for other in proposed:
        build_head(name, channels, kernel_size=other)


@pytest.mark.parametrize("head", HEADS.values(), ids=lambda head: head.name)
def test_heads_are_final(head: type[Head]) -> None:
    """Abstract or final: nothing is inherited from a concrete head."""
    assert not head.__subclasses__()
    assert not head.__abstractmethods__


def test_heads_are_exported() -> None:
    import eca_ablate

    assert eca_ablate.HEADS is HEADS
    assert eca_ablate.build_head is build_head
    assert list(HEADS.values()) == [NoHead, SE, SEVar1, SEVar2, SEVar3, SEGC, ECANS, ECA]
