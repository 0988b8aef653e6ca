"""What a user writes is checked by its path, and what a run is called follows from all of it."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eca_ablate.config import (
    CIFAR_BACKBONES,
    HEAD_LISTS,
    TABLE2,
    BackboneConfig,
    BackboneName,
    DataConfig,
    DataName,
    Experiment,
    Recipe,
    RunConfig,
)
from eca_ablate.errors import ConfigError, UserError, one_of

BLOCKS = ({"name": "eca", "kernel_size": 3}, {"name": "none"})
RUN = RunConfig(
    data=DataConfig("cifar10", classes=("cat", "dog"), fraction=0.5),
    fingerprint="0f1e2d3c",
    backbone=BackboneConfig("resnet20").resolve(),
    blocks=BLOCKS,
    recipe=Recipe(flip=True, augment="crop", precision="fp32"),
    threads=2,
    seed=7,
)
IMAGES = DataConfig("imagefolder", root="/images")

# A different valid value for every field of a run. A field that is not here fails the suite.
OTHER: dict[str, dict[str, Any]] = {
    "": {"fingerprint": "ffff", "blocks": BLOCKS[::-1], "threads": 1, "seed": 8, "semantics": -1},
    "data": {
        "name": "cifar100",
        "root": None,  # does not count
        "image_size": 48,
        "classes": ("cat", "frog"),
        "fraction": 0.25,
        "validation": 0.2,
        "stream": True,
    },
    "backbone": {"name": "resnet32", "stem": None, "width": 0.5},
    "recipe": {
        "epochs": 31,
        "batch_size": 64,
        "lr": 0.2,
        "momentum": 0.8,
        "nesterov": False,
        "weight_decay": 1e-4,
        "decay": "no_norm_bias",
        "schedule": "step",
        "step_epochs": 10,
        "step_factor": 0.2,
        "warmup_epochs": 1.0,
        "label_smoothing": 0.1,
        "augment": "none",
        "flip": None,
        "precision": "bf16",
    },
}
CHANGES = [(part, name) for part, values in OTHER.items() for name in values if (part, name) != ("data", "root")]

shares = st.floats(0, 1, exclude_min=True, exclude_max=True)
recipes = st.builds(
    Recipe,
    epochs=st.integers(5, 300),
    batch_size=st.integers(1, 4096),
    lr=st.floats(1e-6, 10) | st.integers(1, 3),
    momentum=shares,
    weight_decay=st.floats(0, 1),
    schedule=st.sampled_from(["cosine", "step"]),
    warmup_epochs=st.floats(0, 4),
    label_smoothing=st.floats(0, 0.9),
    flip=st.sampled_from([None, True, False]),
    precision=st.sampled_from(["fp32", "bf16"]),
)
names = st.lists(st.text(min_size=1), min_size=2, unique=True).map(tuple)
datas = st.builds(DataConfig, st.just("cifar10"), classes=st.none() | names, fraction=shares, validation=shares)
runs = st.builds(
    RunConfig,
    data=datas,
    fingerprint=st.text(),
    backbone=st.builds(BackboneConfig, st.sampled_from(CIFAR_BACKBONES), width=st.sampled_from([1, 1.0, 0.5, 2])),
    blocks=st.just(BLOCKS),
    recipe=recipes,
    seed=st.integers(0, 2**32),
)


def changed(part: str, name: str) -> RunConfig:
    value = OTHER[part][name]
    run = RUN
    if part == "data" and name == "stream":
        run = dataclasses.replace(RUN, data=dataclasses.replace(IMAGES))
    if not part:
        return dataclasses.replace(run, **{name: value})
    return dataclasses.replace(run, **{part: dataclasses.replace(getattr(run, part), **{name: value})})


# --- keys


def test_every_field_is_accounted_for() -> None:
    for part, kind in (("data", DataConfig), ("backbone", BackboneConfig), ("recipe", Recipe)):
        assert set(OTHER[part]) == {field.name for field in dataclasses.fields(kind)}
    assert {*OTHER[""], "data", "backbone", "recipe"} == {field.name for field in dataclasses.fields(RunConfig)}


@pytest.mark.parametrize(("part", "name"), CHANGES)
def test_the_key_follows_every_field(part: str, name: str) -> None:
    before = RUN if name != "stream" else dataclasses.replace(RUN, data=IMAGES)
    after = changed(part, name)
    assert after != before
    assert after.key() != before.key()
    assert (after.network() == before.network()) == (name == "seed")


def test_keys_of_all_changes_differ() -> None:
    assert len({changed(part, name).key() for part, name in CHANGES}) == len(CHANGES)


def test_the_folder_of_the_images_is_not_part_of_the_key() -> None:
    here, there = (dataclasses.replace(RUN, data=DataConfig("imagefolder", root=root)) for root in ("/a", "/b"))
    assert here.key() == there.key()
    assert here.to_dict()["data"]["root"] == "/a"


def test_keys_are_short_names_of_files() -> None:
    for name in (RUN.key(), RUN.network()):
        assert len(name) == 16
        assert set(name) <= set("0123456789abcdef")
    assert RUN.key() != RUN.network()


def test_whole_numbers_and_floats_have_the_same_key() -> None:
    one, other = (
        dataclasses.replace(
            RUN,
            recipe=dataclasses.replace(RUN.recipe, lr=kind(1), weight_decay=kind(0), warmup_epochs=kind(2)),
            backbone=BackboneConfig("resnet20", width=kind(2)),
            data=dataclasses.replace(RUN.data, fraction=kind(1)),
        )
        for kind in (int, float)
    )
    assert one == other
    assert one.key() == other.key()


def test_the_order_of_a_heads_options_is_not_part_of_the_key() -> None:
    one = dataclasses.replace(RUN, blocks=({"name": "se_gc", "groups": 4},))
    other = dataclasses.replace(RUN, blocks=({"groups": 4, "name": "se_gc"},))
    assert one.key() == other.key()


def test_the_key_is_the_same_in_another_process() -> None:
    program = (
        "import sys, json; from eca_ablate.config import RunConfig; "
        "print(RunConfig.from_dict(json.load(sys.stdin)).key())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(RUN.to_dict()), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == RUN.key()


# --- round trip


@given(runs)
def test_round_trip(run: RunConfig) -> None:
    text = json.dumps(run.to_dict(), allow_nan=False)
    back = RunConfig.from_dict(json.loads(text))
    assert back == run
    assert back.key() == run.key()
    assert back.network() == run.network()
    assert back.to_dict() == run.to_dict()


def test_a_dictionary_is_nobody_elses() -> None:
    facts = RUN.to_dict()
    key = RUN.key()
    facts["recipe"]["lr"] = 9
    facts["blocks"][0]["kernel_size"] = 9
    rebuilt = RunConfig.from_dict(facts)
    facts["blocks"][0]["kernel_size"] = 11
    assert RUN.key() == key
    assert rebuilt.blocks[0]["kernel_size"] == 9


def test_a_stored_configuration_is_checked_again() -> None:
    facts = RUN.to_dict()
    facts["recipe"]["epochs"] = 0
    with pytest.raises(ConfigError, match=r"recipe\.epochs"):
        RunConfig.from_dict(facts)


@pytest.mark.parametrize("config", [DataConfig(), BackboneConfig(), Recipe(), Experiment(), RUN])
def test_configurations_are_frozen(config: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, None)


# --- what a user writes


def test_the_defaults_are_valid_and_small() -> None:
    experiment = Experiment()
    assert experiment.seed_list() == [0, 1, 2]
    assert [spec["name"] for spec in experiment.head_specs()] == [row["name"] for row in TABLE2]


def test_seeds_as_a_number_or_a_list() -> None:
    assert Experiment(seeds=2).seed_list() == [0, 1]
    assert Experiment(seeds=[7, 3]).seed_list() == [7, 3]


def test_heads_as_names_and_mappings() -> None:
    heads = ["none", {"name": "eca", "kernel_size": 3, "label": "three"}]
    specs = Experiment(heads=heads).head_specs()
    assert specs == [{"name": "none"}, {"name": "eca", "kernel_size": 3, "label": "three"}]
    specs[1]["kernel_size"] = 5
    Experiment().head_specs()[1]["reduction"] = 2
    assert heads[1] == {"name": "eca", "kernel_size": 3, "label": "three"}
    assert HEAD_LISTS["table2"][1] == {"name": "se", "label": "SE"}


def test_labels_of_table2_are_the_papers() -> None:
    paper = "Vanilla, SE, SE-Var1, SE-Var2, SE-Var3, SE-GC1, SE-GC2, SE-GC3, ECA-NS, ECA (k=3), ECA (adaptive)"
    assert ", ".join(row["label"] for row in TABLE2) == paper


@pytest.mark.parametrize("name", get_args(BackboneName))
def test_the_stem_is_filled_in(name: BackboneName) -> None:
    config = BackboneConfig(name)
    assert config.resolve().stem == ("cifar" if name in CIFAR_BACKBONES else "imagenet")
    assert config.resolve().resolve() == config.resolve()
    assert BackboneConfig(name, stem="cifar").resolve().stem == "cifar"


DIGITS = "unknown data set 'cifar1O' (did you mean `cifar10`?); known: digits, cifar10"


@pytest.mark.parametrize(
    ("make", "path", "message"),
    [
        (lambda: DataConfig("cifar1O"), "data.name", DIGITS),  # type: ignore[arg-type]
        (lambda: DataConfig("imagefolder"), "data.root", "needs the folder of the images: `--data.root DIR`"),
        (lambda: DataConfig("imagefolder", root=""), "data.root", "needs the folder of the images"),
        (lambda: DataConfig("digits", root="/x"), "data.root", "only `imagefolder` takes a folder, but data.name is"),
        (lambda: DataConfig(image_size=7), "data.image_size", "within 8 to 1024 pixels, but got 7"),
        (lambda: DataConfig(image_size=1025), "data.image_size", "within 8 to 1024 pixels, but got 1025"),
        (lambda: DataConfig(classes=("a", "a")), "data.classes", "two different classes, but got ['a', 'a']"),
        (lambda: DataConfig(classes=()), "data.classes", "at least two different classes, but got []"),
        (lambda: DataConfig(fraction=0), "data.fraction", "`0 < fraction <= 1` must hold, but got 0.0"),
        (lambda: DataConfig(fraction=1.5), "data.fraction", "`0 < fraction <= 1` must hold, but got 1.5"),
        (lambda: DataConfig(fraction=math.nan), "data.fraction", "but got nan"),
        (lambda: DataConfig(validation=0), "data.validation", "`0 < validation < 1` must hold, but got 0.0; choices"),
        (lambda: DataConfig(validation=1), "data.validation", "`0 < validation < 1` must hold, but got 1.0"),
        (lambda: DataConfig("digits", stream=True), "data.stream", "only `imagefolder` streams, but data.name is `dig"),
        (lambda: BackboneConfig("resnet1"), "backbone.name", "unknown backbone 'resnet1' (did you mean `resnet1"),  # type: ignore[arg-type]
        (lambda: BackboneConfig(stem="cifer"), "backbone.stem", "unknown stem 'cifer' (did you mean `cifar`?)"),  # type: ignore[arg-type]
        (lambda: BackboneConfig("resnet20", "imagenet"), "backbone.stem", "only the `cifar` stem; take resnet18"),
        (
            lambda: BackboneConfig(width=0.1),
            "backbone.width",
            "a whole number of channels, at least 1, but got width 0.1",
        ),
        (lambda: BackboneConfig(width=-1), "backbone.width", "but got width -1.0"),
        (lambda: BackboneConfig(width=math.inf), "backbone.width", "but got width inf"),
        (lambda: BackboneConfig(width=math.nan), "backbone.width", "but got width nan"),
        (lambda: BackboneConfig("resnet50", width=2), "backbone.width", "have a width, but got 2.0 for `resnet50`"),
        (lambda: Recipe(epochs=0), "recipe.epochs", "`epochs >= 1` must hold, but got 0"),
        (lambda: Recipe(batch_size=0), "recipe.batch_size", "`batch_size >= 1` must hold, but got 0"),
        (lambda: Recipe(step_epochs=0), "recipe.step_epochs", "`step_epochs >= 1` must hold, but got 0"),
        (lambda: Recipe(lr=0), "recipe.lr", "`0 < lr < inf` must hold, but got 0.0"),
        (lambda: Recipe(lr=math.inf), "recipe.lr", "must hold, but got inf"),
        (lambda: Recipe(lr=math.nan), "recipe.lr", "must hold, but got nan"),
        (lambda: Recipe(weight_decay=-1), "recipe.weight_decay", "`0 <= weight_decay < inf` must hold, but got -1.0"),
        (lambda: Recipe(momentum=1), "recipe.momentum", "`0 <= momentum < 1` must hold, but got 1.0"),
        (lambda: Recipe(label_smoothing=1), "recipe.label_smoothing", "`0 <= label_smoothing < 1` must hold"),
        (lambda: Recipe(step_factor=0), "recipe.step_factor", "`0 < step_factor < inf` must hold, but got 0.0"),
        (lambda: Recipe(epochs=5, warmup_epochs=5), "recipe.warmup_epochs", "`0 <= warmup_epochs < 5` must hold"),
        (
            lambda: Recipe(momentum=0),
            "recipe.nesterov",
            "needs a momentum above 0, but got momentum 0; set `nesterov: f",
        ),
        (lambda: Recipe(schedule="one_cycle", warmup_epochs=1), "recipe.warmup_epochs", "so it must be 0, but got 1.0"),
        (lambda: Recipe(schedule="cosin"), "recipe.schedule", "unknown schedule 'cosin' (did you mean `cosine`?)"),  # type: ignore[arg-type]
        (
            lambda: Recipe(decay="al"),
            "recipe.decay",
            "unknown decay 'al' (did you mean `all`?); known: all, no_norm_bias",
        ),  # type: ignore[arg-type]
        (
            lambda: Recipe(augment="flip"),
            "recipe.augment",
            "unknown augment 'flip'; known: auto, none, crop, resized_crop",
        ),  # type: ignore[arg-type]
        (lambda: Recipe(precision="fp16"), "recipe.precision", "unknown precision 'fp16'"),  # type: ignore[arg-type]
        (lambda: Experiment(threads=0), "threads", "`threads >= 1` must hold, but got 0"),
        (lambda: Experiment(seeds=0), "seeds", "at least one seed is needed, but got 0"),
        (lambda: Experiment(seeds=[]), "seeds", "at least one seed is needed, but got an empty list"),
        (lambda: Experiment(seeds=[1, 1]), "seeds", "each seed counts once, but got [1, 1]"),
        (lambda: Experiment(seeds=[-1]), "seeds", "seeds are whole numbers from 0, below 2^63, but got [-1]"),
        (lambda: Experiment(heads="table1"), "heads", "unknown list of heads 'table1' (did you mean `table2`?)"),
        (lambda: Experiment(heads=[]), "heads", "at least one head is needed, but got an empty list"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_path(make: Callable[[], Any], path: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make()
    assert error.value.path == path
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert isinstance(error.value, UserError | ValueError)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DataConfig("imagefolder", root="images", stream=True, image_size=8),
        lambda: DataConfig(image_size=1024, fraction=1, classes=("0", "1")),
        lambda: BackboneConfig("resnet110", "cifar", 1 / 16),
        lambda: BackboneConfig("resnet152", "cifar"),
        lambda: Recipe(epochs=1, batch_size=1, momentum=0, nesterov=False, weight_decay=0),
        lambda: Recipe(schedule="one_cycle"),
        lambda: Recipe(epochs=2, warmup_epochs=1.5),
    ],
)
def test_values_at_the_edge_are_taken(make: Callable[[], Any]) -> None:
    make()


@pytest.mark.parametrize("name", [name for name in get_args(DataName) if name != "imagefolder"])
def test_every_data_set_needs_nothing_but_its_name(name: DataName) -> None:
    assert DataConfig(name).name == name


def test_one_of_lists_and_guesses() -> None:
    assert (
        one_of("fruit", "aple", ["apple", "pear"]) == "unknown fruit 'aple' (did you mean `apple`?); known: apple, pear"
    )
    assert one_of("fruit", 3, ["apple"]) == "unknown fruit 3; known: apple"
    assert one_of("fruit", "x", iter(["apple", "pear"])) == "unknown fruit 'x'; known: apple, pear"
