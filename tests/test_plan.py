"""Plans: heads resolved to numbers, each distinct network once, and whatever cannot be refused by its path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from little import little

from eca_ablate.config import BackboneConfig, DataConfig, Experiment, Recipe
from eca_ablate.errors import ConfigError, DataError
from eca_ablate.heads import HEADS, head_options
from eca_ablate.kernel_size import RELEASED
from eca_ablate.plan import make_plan, resolve_arms

RESNET20 = BackboneConfig("resnet20")
RESNET50 = BackboneConfig("resnet50")


def table2(**changes: Any) -> Experiment:
    return little(backbone=RESNET20, heads="table2", **changes)


def arms_of(*heads: Any, backbone: BackboneConfig = RESNET20) -> list[Any]:
    return resolve_arms(little(heads=list(heads), backbone=backbone))


def test_table2_on_resnet20_is_ten_networks() -> None:
    """16, 32 and 64 channels all have k = 3 by the rule, so adaptive ECA *is* ECA with k = 3."""
    plan = make_plan(table2(seeds=[3, 1]))
    assert (len(plan.arms), plan.networks, len(plan.runs)) == (11, 10, 20)
    shared = [run for run in plan.runs if len(run.arms) > 1]
    assert [[arm.label for arm in run.arms] for run in shared] == [["ECA (k=3)", "ECA (adaptive)"]] * 2
    assert [run.config.seed for run in shared] == [3, 1]
    facts = shared[0].facts()
    assert (facts["label"], facts["row"], facts["kernel_sizes"]) == ("ECA (k=3)", 9, "3-3-3")
    (other,) = facts["shared_with"]
    assert other == {
        "row": 10,
        "label": "ECA (adaptive)",
        "head": "eca",
        "options": {"gamma": 2, "b": 1},
        "formula": "k",
    }


def test_a_seed_is_finished_before_the_next_begins_and_labels_keep_their_order() -> None:
    plan = make_plan(table2(seeds=2))
    assert [run.config.seed for run in plan.runs] == [0] * 10 + [1] * 10
    labels = [arm.label for run in plan.runs[:10] for arm in run.arms]
    assert labels == [arm.label for arm in plan.arms]
    assert [arm.row for arm in plan.arms] == list(range(11))


def test_each_run_has_a_key_of_its_own_and_replicates_share_a_network() -> None:
    runs = make_plan(table2(seeds=3)).runs
    assert len({run.config.key() for run in runs}) == 30
    assert len({run.config.network() for run in runs}) == 10


@pytest.mark.parametrize(
    "heads",
    [
        [{"name": "se_gc", "groups": 1, "label": "a"}, {"name": "se_var3", "label": "b"}],
        [{"name": "eca_ns", "kernel_size": 1, "label": "a"}, {"name": "se_var2", "label": "b"}],
        ["eca", {"name": "eca", "kernel_size": [3, 3, 3]}],
        [{"name": "se", "label": "a"}, {"name": "se", "reduction": 16, "label": "b"}],
    ],
)
def test_one_function_under_two_names_is_one_network(heads: list[Any]) -> None:
    plan = make_plan(little(backbone=RESNET20, heads=heads))
    assert (len(plan.arms), len(plan.runs)) == (2, 1)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_a_released_model_has_its_own_k_in_each_stage(name: Any) -> None:
    preset = f"released_{name}"
    (arm,) = arms_of({"name": "eca", "kernel_size": preset}, backbone=BackboneConfig(name))
    assert arm.kernel_sizes == "-".join(map(str, RELEASED[preset]))
    assert arm.options == {"kernel_size": preset}


def test_a_list_gives_each_stage_its_k() -> None:
    arms = arms_of(
        {"name": "eca", "kernel_size": [3, 5, 5, 7]}, {"name": "eca_ns", "kernel_size": [1, 3, 5, 7]}, backbone=RESNET50
    )
    assert [block["kernel_size"] for block in arms[0].blocks] == [3] * 3 + [5] * 4 + [5] * 6 + [7] * 3
    assert [arm.kernel_sizes for arm in arms] == ["3-5-5-7", "1-3-5-7"]
    assert [arm.label for arm in arms] == ["ECA (k=3-5-5-7)", "ECA-NS (k=1-3-5-7)"]


@pytest.mark.parametrize("backbone", [RESNET20, RESNET50])
def test_table2_resolves_everywhere(backbone: BackboneConfig) -> None:
    assert len(resolve_arms(Experiment(backbone=backbone))) == 11


def test_what_is_written_out_and_what_is_left_to_its_default_is_one_run() -> None:
    plain = little()
    written = replace(
        plain,
        data=DataConfig("digits", image_size=8),
        backbone=replace(plain.backbone, stem="cifar"),
        recipe=replace(plain.recipe, augment="crop", flip=False),
        heads=["none", {"name": "eca", "kernel_size": [3, 3, 3], "label": "other"}],
    )
    first, second = make_plan(plain), make_plan(written)
    assert [run.config.key() for run in first.runs] == [run.config.key() for run in second.runs]
    assert first.binding == second.binding


def test_precision_is_resolved_and_what_was_planned_stays() -> None:
    experiment = little(precision="auto")
    assert make_plan(experiment).runs[0].config.recipe.precision in ("fp32", "bf16")
    for planned in ("fp32", "bf16"):
        assert make_plan(experiment, planned).runs[0].config.recipe.precision == planned
    assert make_plan(little(precision="fp32"), "bf16").runs[0].config.recipe.precision == "fp32"


@pytest.mark.parametrize(
    "change",
    [{"lr": 0.2}, {"epochs": 2}, {"threads": 2}, {"data": DataConfig(fraction=0.5)}, {"backbone": RESNET20}],
    ids=str,
)
def test_whatever_changes_training_changes_key_and_binding(change: dict[str, Any]) -> None:
    before, after = make_plan(little()), make_plan(little(**change))
    assert not {run.config.key() for run in before.runs} & {run.config.key() for run in after.runs}
    assert before.binding != after.binding


def test_heads_and_seeds_are_not_part_of_the_binding() -> None:
    assert make_plan(little()).binding == make_plan(little(seeds=3, heads=["se_var1", "none"])).binding


# Heads; what the path is; what the message says.
REFUSED: list[tuple[list[Any], str, str]] = [
    (["ecaa"], "heads[0].name", "unknown head 'ecaa' (did you mean `eca`?)"),
    (["none", {}], "heads[1].name", "unknown head None"),
    (["none", {"name": 3}], "heads[1].name", "unknown head 3"),
    (
        [{"name": "eca", "kernelsize": 3}],
        "heads[0].kernelsize",
        "unknown option 'kernelsize' (did you mean `kernel_size`?)",
    ),
    ([{"name": "none", "reduction": 2}], "heads[0].reduction", "`none`: it has no options, but got 'reduction'"),
    ([{"name": "se", "channels": 3}], "heads[0].channels", "unknown option 'channels'"),
    ([{"name": "eca", 3: 3}], "heads[0].3", "unknown option"),
    (["none", {"name": "eca", "kernel_size": 4}], "heads[1].kernel_size", "must be odd to keep 16 channels, but got 4"),
    ([{"name": "eca", "kernel_size": 33}], "heads[0].kernel_size", "stage 1 of resnet20 has 16 channels"),
    ([{"name": "eca_ns", "kernel_size": 33}], "heads[0].kernel_size", "`kernel_size <= 2C - 1` must hold"),
    ([{"name": "eca", "kernel_size": 0}], "heads[0].kernel_size", "`kernel_size >= 1` must hold, but got 0"),
    ([{"name": "eca", "kernel_size": -3}], "heads[0].kernel_size", "`kernel_size >= 1` must hold, but got -3"),
    ([{"name": "eca", "kernel_size": 3.0}], "heads[0].kernel_size", "must be a whole number, but got 3.0"),
    (
        [{"name": "eca", "kernel_size": "three"}],
        "heads[0].kernel_size",
        "unknown name 'three'; known: released_resnet18",
    ),
    ([{"name": "eca", "kernel_size": [3, 5]}], "heads[0].kernel_size", "each of the 3 stages, but got 2: [3, 5]"),
    ([{"name": "eca", "kernel_size": [3, 4, 5]}], "heads[0].kernel_size", "must be odd to keep 32 channels, but got 4"),
    ([{"name": "eca", "kernel_size": "released_resnet50"}], "heads[0].kernel_size", "each of the 3 stages, but got 4"),
    ([{"name": "eca", "gamma": 0}], "heads[0].gamma", "`gamma > 0` must hold, but got 0"),
    ([{"name": "eca", "gamma": -1}], "heads[0].gamma", "`gamma > 0` must hold, but got -1"),
    ([{"name": "eca", "gamma": "two"}], "heads[0].gamma", "`gamma` must be a number, but got 'two'"),
    ([{"name": "eca", "b": "one"}], "heads[0].b", "`b` must be a number, but got 'one'"),
    ([{"name": "eca", "b": float("nan")}], "heads[0].b", "`b` must be finite"),
    ([{"name": "eca", "gamma": 10**400}], "heads[0]", "too large"),
    ([{"name": "eca", "kernel_size": 3, "gamma": 2}], "heads[0].", "takes either `kernel_size` or"),
    ([{"name": "se", "reduction": 5}], "heads[0].reduction", "must divide the 16 channels, but got 5"),
    ([{"name": "se", "reduction": "16"}], "heads[0].reduction", "must be a whole number, but got '16'"),
    ([{"name": "se_gc", "groups": 3}], "heads[0].groups", "must divide the 16 channels, but got 3"),
    ([{"name": "se_gc", "groups": 32}], "heads[0].groups", "must divide the 16 channels, but got 32"),
    ([{"name": "se_gc", "group_channels": 5}], "heads[0].group_channels", "must divide the 16 channels, but got 5"),
    ([{"name": "se_gc", "groups": 0}], "heads[0].groups", "`groups >= 1` must hold, but got 0"),
    (["se_gc"], "heads[0]", "groups"),
    ([{"name": "se_gc", "groups": 2, "group_channels": 2}], "heads[0]", "groups"),
    (["eca", "eca"], "heads[1].label", "every row needs a label of its own, but 'ECA (adaptive)' is there already"),
    (["none", {"name": "se", "label": "Vanilla"}], "heads[1].label", "'Vanilla' is there already"),
    ([{"name": "se", "label": " "}], "heads[0].label", "must be a text"),
    ([{"name": "se", "label": 3}], "heads[0].label", "must be a text, but got 3"),
]


@pytest.mark.parametrize(("heads", "path", "message"), REFUSED, ids=[str(heads)[:60] for heads, _, _ in REFUSED])
def test_a_bad_head_is_refused_by_its_path(heads: list[Any], path: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        arms_of(*heads)
    assert error.value.path.startswith(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


VALUES = st.one_of(
    st.integers(),
    st.sampled_from([-1, 0, 1, 2, 3, 5, 8, 16, 10**30, 10**400]),
    st.floats(),
    st.booleans(),
    st.text(max_size=5),
    st.none(),
    st.lists(st.one_of(st.integers(-1, 9), st.text(max_size=2), st.none()), max_size=4),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.sampled_from(["code", "nearest", *RELEASED]),
)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_head_resolves_or_is_refused_whatever_is_written(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(HEADS)))
    options = data.draw(st.dictionaries(st.sampled_from([*head_options(name), "label", "other"]), VALUES, max_size=3))
    refused_at, blocks = "heads[0]", 9
    try:
        blocks = len(arms_of({"name": name, **options})[0].blocks)
    except ConfigError as error:
        refused_at = error.path
    assert refused_at.startswith("heads[0]")
    assert blocks == 9


def test_data_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        make_plan(little(data=DataConfig("imagefolder", root=str(tmp_path / "absent"))))


def test_recipe_of_a_run_has_nothing_left_to_resolve() -> None:
    recipe = make_plan(replace(little(), recipe=Recipe())).runs[0].config.recipe
    assert "auto" not in (recipe.augment, recipe.precision)
    assert recipe.flip is False
