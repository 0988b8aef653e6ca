"""Experiment files: what is taken, and how each thing that does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from eca_ablate.config import Experiment
from eca_ablate.errors import ConfigError, UserError
from eca_ablate.loading import experiment_help, load_experiment, read_header

ROOT = Path(__file__).resolve().parent.parent


def written(folder: Path, text: str) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_or_keys_the_defaults_hold(tmp_path: Path) -> None:
    assert load_experiment(None) == Experiment()
    assert load_experiment(written(tmp_path, "{}")) == Experiment()


def test_every_key_of_a_file_arrives(tmp_path: Path) -> None:
    text = """
        data: {name: digits, image_size: 16, classes: ["0", "1", "2"], fraction: 0.5, validation: 0.2}
        backbone: {name: resnet32, width: 0.5}
        recipe: {epochs: 2, lr: 1e-2, nesterov: false, schedule: step, flip: true, precision: fp32}
        seeds: [4, 2]
        heads:
          - none
          - {name: eca, kernel_size: [3, 5, 7], label: each its own}
        threads: 2
        """
    found = load_experiment(written(tmp_path, text))
    assert (found.data.image_size, found.data.classes, found.data.fraction) == (16, ("0", "1", "2"), 0.5)
    assert (found.backbone.name, found.backbone.width) == ("resnet32", 0.5)
    recipe = found.recipe
    assert (recipe.epochs, recipe.lr, recipe.nesterov, recipe.schedule, recipe.flip) == (2, 0.01, False, "step", True)
    assert (found.seed_list(), found.threads) == ([4, 2], 2)
    assert found.head_specs() == [
        {"name": "none"},
        {"name": "eca", "kernel_size": [3, 5, 7], "label": "each its own"},
    ]


def test_overrides_come_after_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "recipe: {epochs: 2, lr: 0.2}\nheads: [none, se]")
    found = load_experiment(path, ["--recipe.epochs", "5", "--data.root=null", "--seeds", "[7]", "--heads=table2"])
    assert (found.recipe.epochs, found.recipe.lr, found.seeds, found.heads) == (5, 0.2, [7], "table2")
    assert load_experiment(path, ["--heads", "[eca]"]).heads == ["eca"]


# Text of the file; the key that the message begins with; what else it says.
REFUSED = [
    ("recipes: {epochs: 2}", "recipes", "unknown key 'recipes' (did you mean `recipe`?)"),
    ("recipe: {epoch: 2}", "recipe.epoch", "unknown key 'epoch' (did you mean `epochs`?)"),
    ("data: {name: digit}", "data.name", "digits"),
    ("backbone: {name: resnet21}", "backbone.name", "resnet20"),
    ("recipe: {epochs: three}", "recipe.epochs", "must be of type int, but got three"),
    ("recipe: {epochs: 1.5}", "recipe.epochs", "must be of type int, but got 1.5"),
    ("recipe: {epochs: null}", "recipe.epochs", "must be of type int"),
    ("recipe: {epochs: [1]}", "recipe.epochs", "must be of type int, but got [1]"),
    ("recipe: {lr: fast}", "recipe.lr", "must be of type float, but got fast"),
    ("recipe: {nesterov: maybe}", "recipe.nesterov", "must be of type bool, but got maybe"),
    ("recipe: {schedule: cosin}", "recipe.schedule", "cosine"),
    ("recipe: {epochs: 0}", "recipe.epochs", "`epochs >= 1` must hold, but got 0"),
    ("recipe: {lr: 0}", "recipe.lr", "`0 < lr < inf` must hold, but got 0"),
    ("recipe: 5", "recipe", "must hold keys (epochs, batch_size"),
    ("data: digits", "data", "must hold keys (name, root"),
    ("data:", "data", "must hold keys (name, root"),
    ("seeds: 0", "seeds", "at least one seed is needed, but got 0"),
    ("seeds: []", "seeds", "at least one seed is needed, but got an empty list"),
    ("seeds: [1, 1]", "seeds", "each seed counts once"),
    ("seeds: [a]", "seeds", "must be of type int | list[int]"),
    ("seeds: [18446744073709551616]", "seeds", "18446744073709551616"),
    ("heads: []", "heads", "at least one head is needed"),
    ("heads: table3", "heads", "unknown list of heads 'table3' (did you mean `table2`?)"),
    ("heads: {name: eca}", "heads", "must be"),
    ("heads: [1]", "heads", "must be"),
    ("threads: 0", "threads", "`threads >= 1` must hold, but got 0"),
    ("data: {classes: cat}", "data.classes", "must be"),
    ("data: {name: imagefolder}", "data.root", "needs the folder"),
    ("data: {fraction: 0}", "data.fraction", "`0 < fraction <= 1` must hold"),
]


@pytest.mark.parametrize(("text", "key", "message"), REFUSED, ids=[text for text, _, _ in REFUSED])
def test_what_does_not_fit_is_refused_by_its_path(tmp_path: Path, text: str, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_experiment(written(tmp_path, text))
    assert str(error.value).startswith(f"{key}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        (["--recipe.epoch", "2"], "recipe.epoch"),
        (["--recipe.epochs", "two"], "recipe.epochs"),
        (["--recipe.epochs", "0"], "recipe.epochs"),
        (["--sedes", "2"], "sedes"),
        (["--data.name", "imagenet"], "data.name"),
    ],
)
def test_overrides_are_refused_by_their_path(override: list[str], key: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key}: "):
        load_experiment(None, override)


@pytest.mark.parametrize(
    "override", [["2"], ["--recipe.epochs"], ["--recipe", "nonsense"], ["--config", "absent.yaml"]]
)
def test_an_override_that_is_none_is_a_mistake_of_the_users(override: list[str]) -> None:
    with pytest.raises(UserError):
        load_experiment(None, override)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold keys such as"),
        ("[none, se]", "must hold keys such as"),
        ("3", "must hold keys such as"),
        ("recipe: {epochs: 2", "is not plain YAML"),
        ("a: b: c", "is not plain YAML"),
        ("x: &x [*x, *x]\ny: *z", "is not plain YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError, match=message) as error:
        load_experiment(path)
    assert str(path) in str(error.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the experiment file .*absent.yaml: No such file"):
        load_experiment(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match=r"cannot read the experiment file .*: Is a directory"):
        load_experiment(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match="is not plain YAML"):
        load_experiment(tmp_path / "binary.yaml")


@pytest.mark.parametrize("tag", ["object/apply:os.mkdir", "object/new:os.mkdir"])
@pytest.mark.parametrize("place", ["heads: {}", "{}", "data: {{root: {}}}"])
def test_a_file_cannot_construct_objects(tmp_path: Path, tag: str, place: str) -> None:
    made = tmp_path / "made"
    with pytest.raises(UserError, match="is not plain YAML"):
        load_experiment(written(tmp_path, place.format(f"!!python/{tag} [{str(made)!r}]")))
    with pytest.raises(UserError):
        load_experiment(None, [f"--heads=!!python/{tag} [{str(made)!r}]"])
    assert not made.exists()


def test_the_help_lists_every_key() -> None:
    text = experiment_help()
    for key in ("--data.name", "--backbone.width", "--recipe.label_smoothing", "--seeds", "--heads", "--threads"):
        assert key in text


def test_the_header_of_an_experiment_gives_question_and_expectation(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    for text, expected in (
        ("# Why\n# not?\n# Run: x\n# Expected: a,\n#    b.\n#\n# c\nseeds: 1\n# Really?", ("Why not?", "a, b.")),
        ("# Expected: a\n# b\n", ("", "a")),
        ("# no question\nseeds: 1", ("", "")),
        ("seeds: 1", ("", "")),
    ):
        file.write_text(text)
        assert read_header(file) == expected
    for path in sorted((ROOT / "experiments").glob("*.yaml")):
        question, expectation = read_header(path)
        assert question.endswith("?")
        assert "Run:" not in question + expectation
        assert expectation
    with pytest.raises(UserError, match="cannot read the experiment file"):
        read_header(tmp_path / "absent.yaml")
