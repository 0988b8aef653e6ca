"""The command line end to end: what it prints, writes, refuses and survives, in processes of its own."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from optuna.trial import TrialState
from PIL import Image
from processes import command, finish, states

from eca_ablate.cli import main
from eca_ablate.config import RunConfig
from eca_ablate.report import load, load_curves
from eca_ablate.report.about import load_about

TINY = """# Does it work?
# Run:      eca-ablate run tiny.yaml
# Expected: it does;
#           contradicted otherwise.
data: {name: digits}
backbone: {name: resnet20, width: 0.25}
recipe: {epochs: 1, batch_size: 64}
seeds: 2
heads: [none, eca_ns, {name: eca, kernel_size: [1, 3, 3], label: "by hand"}, eca]
"""
TIMES = ["seconds", "images_per_second", "finished_at"]
TABLES = ("table.md", "table.csv", "table.tex")
FIGURES = tuple(f"figures/{name}.{end}" for name in ("learning_curves", "training_loss") for end in ("svg", "png"))


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (*TABLES, "report.html", "runs.csv", "curves.csv", *FIGURES)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    (folder / "tiny.yaml").write_text(TINY)
    return folder


@pytest.fixture(scope="module")
def finished(place: Path) -> tuple[Path, str, str]:
    """Run the tiny experiment with two workers; return its results, what it printed and what it said."""
    code, out, err = finish(command("run", "tiny.yaml", "--workers", 2, cwd=place))
    assert code == 0, err
    return place / "results" / "tiny", out, err


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Return a function that gives a command to `main`, in an empty folder, and returns code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECA_ABLATE_CACHE", str(tmp_path / "cache"))
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
def test_an_experiment_gives_rows_and_tables_and_is_quiet(finished: tuple[Path, str, str]) -> None:
    folder, out, err = finished
    rows = load(folder)
    assert len(rows) == 8
    assert set(rows["status"]) == {"done"}
    assert out == (folder / "table.md").read_text()
    said = err.splitlines()
    assert len(said) == 2
    assert said[0].startswith("4 heads, 3 distinct networks × 2 seeds = 6 runs; 0 done, 6 to train on ")
    assert said[1] == "tables, figures and rows are in results/tiny; report.html shows them all"
    assert "\x1b" not in out + err
    assert list(rows.loc[rows["shared"], "label"]) == ["ECA (adaptive)"] * 2
    assert len(list((folder / "tensorboard").iterdir())) == 6
    assert len(load_curves(folder)) == 8
    about = load_about(folder)
    assert (about.question, about.expected) == ("Does it work?", "it does; contradicted otherwise.")
    assert about.command == "eca-ablate run tiny.yaml"
    page = (folder / "report.html").read_text()
    assert "<h1>Does it work?</h1>" in page
    for key, blocks, seed in rows[["key", "blocks", "seed"]].itertuples(index=False):
        data = {**about.shared["data"], "root": None}
        facts = {**about.shared, "data": data, "blocks": json.loads(blocks), "seed": int(seed)}
        assert RunConfig.from_dict(facts).key() == key, "what is stored says everything that a run depends on"
    assert set(states(folder)) == {TrialState.COMPLETE}


@pytest.mark.slow
def test_the_same_command_again_trains_nothing(finished: tuple[Path, str, str], place: Path) -> None:
    folder, out, _ = finished
    before = content(folder)
    code, again, err = finish(command("run", "tiny.yaml", "--workers", 2, cwd=place))
    assert (code, again) == (0, out)
    assert "6 done, 0 to train" in err
    assert content(folder) == before
    assert len(states(folder)) == 6


@pytest.mark.slow
def test_one_worker_gives_the_same_rows_as_two(finished: tuple[Path, str, str], place: Path) -> None:
    code, _, err = finish(command("run", "tiny.yaml", "--workers", 1, "--out", "one", cwd=place))
    assert code == 0, err
    ours, theirs = (load(folder).drop(columns=TIMES) for folder in (place / "one", finished[0]))
    pd.testing.assert_frame_equal(ours, theirs)
    assert (place / "one" / "curves.csv").read_bytes() == (finished[0] / "curves.csv").read_bytes()


@pytest.mark.slow
def test_a_report_rebuilds_the_tables_without_torch(finished: tuple[Path, str, str]) -> None:
    folder, out, _ = finished
    before = content(folder)
    for name in (*TABLES[1:], *FIGURES, "report.html"):
        (folder / name).unlink()
    program = (
        "import sys; from eca_ablate.cli import main; code = main(['report', sys.argv[1]]); "
        "print(*{'torch', 'lightning', 'optuna', 'torchvision'} & set(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, out)
    assert done.stderr == f"{folder / 'report.html'} shows it all\n\n", "and no heavy module is named"
    assert content(folder) == before


@pytest.mark.slow
def test_plan_and_more_heads_go_on_from_what_is_there(
    finished: tuple[Path, str, str], place: Path, shell: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    shutil.copytree(finished[0], tmp_path / "results")
    code, out, err = shell("plan", place / "tiny.yaml", "--out", tmp_path / "results", "--seeds", 3, "--json")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert (facts["networks"], facts["runs"], facts["runs_done"], facts["runs_missing"]) == (3, 9, 6, 3)
    assert facts["seconds_left"] > 0
    assert [head["same_as"] for head in facts["heads"]] == ["", "", "", "by hand"]
    assert [head["kernel_sizes"] for head in facts["heads"]] == ["", "3-3-3", "1-3-3", "1-3-3"]
    heads = "[none, eca_ns, {name: eca, kernel_size: [1, 3, 3], label: by hand}, eca, se_var1]"
    code, _, err = shell("run", place / "tiny.yaml", "--out", tmp_path / "results", "--heads", heads)
    assert code == 0
    assert err.startswith("5 heads, 4 distinct networks × 2 seeds = 8 runs; 6 done, 2 to train on ")
    assert len(load(tmp_path / "results")) == 10


def test_cost_counts_without_measuring(shell: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = shell("cost", "--json", "--rounds", 0, "--backbone.name", "resnet50", "--heads", "[none, se, eca]")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert (facts["backbone"], facts["image_size"]) == ("resnet50, imagenet stem, width 1", 224)
    by_label = {head["label"]: head for head in facts["heads"]}
    assert len(by_label) == 3
    assert by_label["Vanilla"]["weights"] == 25_557_032
    assert by_label["ECA (adaptive)"]["head_weights"] == 86
    assert set(by_label["SE"]) == {"label", "kernel_sizes", "formula", "weights", "head_weights", "macs", "head_macs"}


def test_cost_measures_in_turn(shell: Callable[..., tuple[int, str, str]]) -> None:
    arguments = ("--backbone.name", "resnet20", "--heads", "[none, eca]", "--rounds", 2, "--batch-size", 2)
    code, out, _ = shell("cost", "--json", "--image-size", 8, *arguments)
    first, second = json.loads(out)["heads"]
    assert code == 0
    assert first["training_ratio"] == first["inference_ratio"] == 1
    assert second["training_images_per_second"] > 0
    assert "ECA (adaptive)" in shell("cost", "--image-size", 8, *arguments)[1]


def test_doctor_says_what_the_machine_can_do(shell: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = shell("doctor", "--json")
    found = json.loads(out)
    assert (code, err) == (0 if found["ok"] else 1, "")
    assert set(found) == {"ok", "problems", "facts"}
    assert {"torch", "optuna", "cpu", "cores", "device", "precision_auto", "cache", "data"} <= set(found["facts"])
    assert found["facts"]["data"]["digits"] is True
    assert shell("doctor")[0] == code


def test_plan_writes_nothing(shell: Callable[..., tuple[int, str, str]], tmp_path: Path, place: Path) -> None:
    code, out, err = shell("plan", place / "tiny.yaml")
    assert (code, err) == (0, "")
    assert "4 heads, 3 distinct networks × 2 seeds = 6 runs; 0 done, 6 to train" in out
    assert not (tmp_path / "results").exists()
    facts = json.loads(shell("plan", place / "tiny.yaml", "--json")[1])
    assert set(facts) >= {"networks", "seeds", "runs", "runs_done", "runs_missing", "binding", "heads", "workers"}


# A change of the tiny experiment (old text, new text); what the one message begins with; what it says.
BAD = [
    ("epochs: 1", "epoch: 1", "recipe.epoch: ", "did you mean `epochs`?"),
    ("name: digits", "name: digit", "data.name: ", "digits"),
    ("[none", "[nine", "heads[0].name: ", "did you mean `none`?"),
    ("eca_ns", "{name: eca_ns, size: 3}", "heads[1].size: ", "unknown option 'size'"),
    ("[1, 3, 3]", "4", "heads[2].kernel_size: ", "must be odd"),
    ("[1, 3, 3]", "9", "heads[2].kernel_size: ", "`kernel_size <= 2C - 1` must hold"),
    ("[1, 3, 3]", "0", "heads[2].kernel_size: ", "`kernel_size >= 1` must hold, but got 0"),
    ("eca_ns", "{name: se_gc, groups: 3}", "heads[1].groups: ", "must divide the 4 channels, but got 3"),
    ("eca_ns", "{name: eca, gamma: 0}", "heads[1].gamma: ", "`gamma > 0` must hold"),
    ("eca_ns", "{name: eca, gamma: two}", "heads[1].gamma: ", "must be a number, but got 'two'"),
    ("epochs: 1", "epochs: one", "recipe.epochs: ", "must be of type int, but got one"),
    ("seeds: 2", "seeds: two", "seeds: ", "must be of type int"),
    ("seeds: 2", "seeds: 0", "seeds: ", "at least one seed is needed"),
    ("epochs: 1", "epochs: 0", "recipe.epochs: ", "`epochs >= 1` must hold"),
    ("name: digits", "name: imagefolder", "data.root: ", "needs the folder"),
    ("name: digits", "{name: digits", "", "is not plain YAML"),
    ("seeds: 2", "seeds: !!python/object/apply:os.mkdir [made]", "", "is not plain YAML"),
]


def refused(done: tuple[int, str, str]) -> str:
    """Return the message, having seen that it is one, and nothing else."""
    code, out, err = done
    assert (code, out) == (2, ""), err
    assert err.startswith("eca-ablate: error: ")
    assert "Traceback" not in err
    assert err.count("error:") == 1
    return err.removeprefix("eca-ablate: error: ").strip()


@pytest.mark.parametrize("verb", ["run", "plan"])
@pytest.mark.parametrize(("old", "new", "start", "said"), BAD, ids=[new for _, new, _, _ in BAD])
def test_a_bad_experiment_is_refused_in_one_message(
    verb: str, old: str, new: str, start: str, said: str, shell: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    text = TINY.replace(old, new, 1)
    assert text != TINY
    (tmp_path / "bad.yaml").write_text(text)
    message = refused(shell(verb, "bad.yaml"))
    assert message.startswith(start)
    assert said in message
    assert "\n" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


def folder_of(tmp_path: Path, **counts: int) -> Path:
    root = tmp_path / "images"
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (12, 12), (i, 2 * i, 3 * i)).save(root / name / f"{i}.png")
    return root


@pytest.mark.parametrize(
    "trouble", ["absent", "empty", "a class without images", "a broken image", "one class", "a file"]
)
@pytest.mark.parametrize("verb", ["run", "data prepare"])
def test_a_bad_folder_is_refused_and_named(
    trouble: str, verb: str, shell: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    root = tmp_path / "images"
    if trouble == "empty":
        root.mkdir()
    elif trouble == "a file":
        root.write_text("")
    elif trouble != "absent":
        root = folder_of(tmp_path, cat=6, **({} if trouble == "one class" else {"dog": 6}))
    if trouble == "a class without images":
        (root / "eel").mkdir()
    if trouble == "a broken image":
        broken = root / "dog" / "3.png"
        broken.write_bytes(broken.read_bytes()[:40])
    (tmp_path / "tiny.yaml").write_text(TINY.replace("name: digits", f"name: imagefolder, root: {root}"))
    arguments = ["run", "tiny.yaml"] if verb == "run" else ["data", "prepare", "imagefolder", "--root", root]
    message = refused(shell(*arguments))
    at = {"a class without images": root / "eel", "a broken image": root / "dog" / "3.png"}
    assert str(at.get(trouble, root)) in message
    assert "\n" not in message
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        ["--recipe.lr", "0.2"],
        ["--backbone.width", "0.5"],
        ["--heads", "[{name: eca, kernel_size: 4}]"],
        ["--recipe.epochs", "none"],
        ["--data.name", "imagefolder", "--data.root", "absent"],
        ["--storage", "nonsense"],
        ["--unknown", "3"],
    ],
    ids=str,
)
def test_finished_rows_survive_a_mistake(
    change: list[str],
    finished: tuple[Path, str, str],
    place: Path,
    shell: Callable[..., tuple[int, str, str]],
) -> None:
    folder = finished[0]
    before, trials = content(folder), states(folder)
    message = refused(shell("run", place / "tiny.yaml", "--out", folder, *change))
    if change[0] in ("--recipe.lr", "--backbone.width"):
        assert "belongs to another experiment" in message
        assert f"{change[0].removeprefix('--')}: " in message
    assert content(folder) == before
    assert states(folder) == trials


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "absent.yaml"],
        ["plan", "absent.yaml"],
        ["cost", "absent.yaml"],
        ["report", "absent"],
        ["data", "prepare", "nothing"],
        ["run", "tiny.yaml", "--out", "tiny.yaml"],
        ["run", "tiny.yaml", "--out", "/proc/results"],
        ["plan", "tiny.yaml", "--storage", "nonsense"],
        ["cost", "--heads", "[se]", "--backbone.width", "0.25"],
    ],
    ids=" ".join,
)
def test_other_mistakes_are_refused_in_one_message(
    arguments: list[str], shell: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    assert "\n" not in refused(shell(*arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train"],
        ["run"],
        ["run", "tiny.yaml", "--workers", "0"],
        ["run", "tiny.yaml", "--workers", "many"],
        ["run", "tiny.yaml", "--engine", "slurm"],
        ["cost", "--rounds", "-1"],
        ["cost", "--batch-size", "0"],
        ["report", "one", "two"],
        ["doctor", "--loud"],
    ],
    ids=" ".join,
)
def test_arguments_that_are_none_end_with_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: eca-ablate")
    assert "error: " in err.splitlines()[-1]


@pytest.mark.slow
def test_a_mistake_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(TINY.replace("epochs: 1", "epochs: 0"))
    done = finish(command("run", "bad.yaml", cwd=tmp_path))
    assert refused(done) == "recipe.epochs: `epochs >= 1` must hold, but got 0"


def test_overrides_may_stand_anywhere(shell: Callable[..., tuple[int, str, str]], place: Path) -> None:
    for arguments in (
        ["--seeds", "5", place / "tiny.yaml", "--json"],
        ["--json", "--seeds=5", place / "tiny.yaml", "--heads", "[none, eca, {name: eca, kernel_size: [1, 3, 3]}]"],
        [place / "tiny.yaml", "--json", "--heads=[none, eca, se_var1]", "--seeds", "5"],
    ):
        code, out, err = shell("plan", *arguments)
        assert (code, err) == (0, "")
        assert json.loads(out)["seeds"] == [0, 1, 2, 3, 4]


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["--version"], *([verb, "--help"] for verb in ("run", "plan", "cost", "report"))):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
        assert capsys.readouterr().out
