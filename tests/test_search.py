"""Searches on a real study; only the training is replaced where it says so."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from eca_ablate.checkpoint import PutBack
from eca_ablate.cli import main
from eca_ablate.config import BackboneConfig, DataConfig, Experiment, Recipe, RunConfig
from eca_ablate.errors import ConfigError, UserError
from eca_ablate.report import SEARCH_FILE, load_curves
from eca_ablate.search import PointsStudy, Pruning, SearchPlan, run_pruner
from eca_ablate.space import Search
from eca_ablate.storage import storage_url
from eca_ablate.study import RunsStudy

GAMMA_B = {"gamma": {"low": 1, "high": 4, "step": 0.25}, "b": {"low": -4, "high": 4, "step": 0.5}}


def experiment(search: Search, backbone: str = "resnet20", width: float = 1, seeds: int = 2) -> Experiment:
    return Experiment(
        data=DataConfig("digits"),
        backbone=BackboneConfig(backbone, width=width),  # type: ignore[arg-type]
        recipe=Recipe(epochs=2, precision="fp32"),
        seeds=seeds,
        search=search,
    )


def score(config: RunConfig) -> float:
    """A made-up accuracy, a function of network and seed."""
    return round(50 + 40 * random.Random(config.network()).random() + random.Random(config.key()).random(), 4)


def row(config: RunConfig, **changes: Any) -> dict[str, Any]:
    return {"seed": config.seed, "status": "done", "val_top1": score(config), "seconds": 1.0, "epochs": 2, **changes}


class Drive:
    """A search in one process: the study, the points and a worker that makes up its rows."""

    def __init__(self, folder: Path, search: Search, **changes: Any) -> None:
        self.plan = SearchPlan(experiment(search, **changes))
        self.runs = RunsStudy(storage_url(folder), folder, search.metric, run_pruner(search.pruner, epochs=2))
        self.runs.bind(self.plan.binding)
        self.points = PointsStudy(self.plan, self.runs, folder)
        self.trained: list[RunConfig] = []

    def work(self, make: Callable[[RunConfig], dict[str, Any]] = row, stop_after: int | None = None) -> None:
        def execute(config: RunConfig, trial: optuna.Trial) -> dict[str, Any]:
            if stop_after is not None and len(self.trained) == stop_after:
                raise PutBack
            self.trained.append(config)
            return make(config)

        while not self.points.advance():
            self.runs.work(execute)

    def points_trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.points._study.get_trials()

    def run_trials(self, *states: TrialState) -> list[optuna.trial.FrozenTrial]:
        return self.runs._study.get_trials(states=states or None)


@pytest.mark.parametrize(
    ("backbone", "networks"), [("resnet18", 23), ("resnet34", 23), ("resnet50", 26), ("resnet20", 13)]
)
def test_221_pairs_are_few_networks(backbone: str, networks: int) -> None:
    plan = SearchPlan(experiment(Search(space=GAMMA_B), backbone))

    assert len(plan.points) == 221
    assert len({point.network for point in plan.points}) == networks
    for point in plan.points:
        assert all(block["kernel_size"] % 2 == 1 for block in point.template.blocks)
        if point.below_one:
            assert 1 in {block["kernel_size"] for block in point.template.blocks}


@pytest.mark.slow
def test_every_network_is_trained_once_a_seed_and_every_point_has_its_value(tmp_path: Path) -> None:
    drive = Drive(tmp_path, Search(space=GAMMA_B), width=2)

    drive.work()

    networks = {point.network for point in drive.plan.points}
    assert len(networks) == 14
    assert len(drive.run_trials(TrialState.COMPLETE)) == len(drive.trained) == 14 * 2
    assert max(Counter(config.key() for config in drive.trained).values()) == 1
    table = drive.points.table()
    assert len(table) == 221
    assert {entry["state"] for entry in table} == {"complete"}
    by_network: dict[str, set[float]] = {}
    for entry in table:
        by_network.setdefault(entry["network"], set()).add(entry["value"])
    assert all(len(values) == 1 for values in by_network.values())
    assert sum(entry["shared_with"] is None for entry in table) == 14
    for entry in table:
        if entry["shared_with"] is not None:
            assert table[entry["shared_with"]]["network"] == entry["network"]


def test_the_winner_has_the_best_mean_and_is_compared_on_seeds_no_choice_has_seen(tmp_path: Path) -> None:
    drive = Drive(tmp_path, Search(space={"kernel_size": [1, 3, 5, 7, 9, "adaptive"]}), width=2, seeds=3)
    drive.work()

    winner = drive.points.winner()

    assert winner is not None
    assert (
        winner.network
        == max(drive.plan.points, key=lambda point: sum(score(point.run(seed).config) for seed in range(3))).network
    )
    final = drive.plan.final(winner)
    assert [arm.label for arm in final.arms] == [
        f"Winner: {winner.arm.label}",
        "Vanilla",
        "ECA (k=3)",
        "ECA (adaptive)",
    ]
    assert {run.config.seed for run in final.runs} == {3, 4, 5}
    assert final.arms[0].blocks == winner.template.blocks
    assert not {run.config.key() for run in final.runs} & {config.key() for config in drive.trained}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["all", "tpe", "random"])
def test_a_search_stopped_half_way_goes_on_to_the_same_networks(tmp_path: Path, sampler: str) -> None:
    trials = None if sampler == "all" else 15
    search = Search(space={"kernel_size": {"each_stage": [1, 3, 5]}}, sampler=sampler, trials=trials)
    (tmp_path / "stopped").mkdir()
    (tmp_path / "whole").mkdir()
    whole = Drive(tmp_path / "whole", search)
    whole.work()

    with pytest.raises(PutBack):
        Drive(tmp_path / "stopped", search).work(stop_after=7)
    again = Drive(tmp_path / "stopped", search)
    again.work()

    assert again.points.table()
    for ours, theirs in zip(again.points.table(), whole.points.table(), strict=True):
        assert (ours["network"], ours["value"]) == (theirs["network"], theirs["value"])
    assert not again.run_trials(TrialState.RUNNING, TrialState.WAITING)
    keys = Counter(trial.user_attrs["key"] for trial in again.run_trials(TrialState.COMPLETE))
    assert max(keys.values()) == 1


def test_a_proposed_network_that_is_known_is_told_and_not_trained(tmp_path: Path) -> None:
    drive = Drive(tmp_path, Search(space={"kernel_size": [3, 5, 7]}, sampler="random", trials=20))

    drive.work()

    assert len(drive.points_trials()) == 20
    assert len(drive.trained) == 3 * 2
    assert all(trial.value is not None for trial in drive.points_trials())


def test_a_diverged_network_stays_in_the_table_and_is_never_best(tmp_path: Path) -> None:
    drive = Drive(tmp_path, Search(space={"kernel_size": [1, 3, 5]}))
    best = max(drive.plan.points, key=lambda point: score(point.run(0).config) + score(point.run(1).config))

    def diverging(config: RunConfig) -> dict[str, Any]:
        if config.network() == best.network and config.seed == 1:
            return row(config, status="diverged", val_top1=None)
        return row(config)

    drive.work(diverging)

    states = {entry["network"]: entry["state"] for entry in drive.points.table()}
    assert states[best.network] == "diverged"
    assert Counter(states.values()) == {"diverged": 1, "complete": 2}
    winner = drive.points.winner()
    assert winner is not None
    assert winner.network != best.network


def test_a_failed_run_blocks_its_network_alone_and_is_tried_again_by_the_next_command(tmp_path: Path) -> None:
    search = Search(space={"kernel_size": [1, 3, 5]})
    drive = Drive(tmp_path, search)
    bad = drive.plan.points[1].run(0).config.key()

    def failing(config: RunConfig, trial: optuna.Trial) -> dict[str, Any]:
        if config.key() == bad:
            raise RuntimeError("out of memory")
        return row(config)

    assert not drive.points.advance()
    drive.runs.work(failing)
    drive.points.failed.add(bad)
    assert drive.points.advance()
    assert [entry["state"] for entry in drive.points.table()] == ["complete", "waiting", "complete"]
    assert "out of memory" in drive.runs.failures()[bad]

    again = Drive(tmp_path, search)
    again.work()
    assert [config.key() for config in again.trained] == [bad]
    assert [entry["state"] for entry in again.points.table()] == ["complete"] * 3


def test_wilcoxon_spares_a_hopeless_network_its_further_seeds(tmp_path: Path) -> None:
    search = Search(space={"kernel_size": [3, 1]}, pruner="wilcoxon", batch=1)
    drive = Drive(tmp_path, search, seeds=12)

    def two_levels(config: RunConfig) -> dict[str, Any]:
        return row(config, val_top1=90.0 + config.seed if config.blocks[0]["kernel_size"] == 3 else 10.0 + config.seed)

    drive.work(two_levels)

    states = [entry["state"] for entry in drive.points.table()]
    assert states == ["complete", "pruned"]
    seeds = Counter(config.blocks[0]["kernel_size"] for config in drive.trained)
    assert seeds[3] == 12
    assert 1 < seeds[1] < 12


def test_a_recipe_key_can_be_searched(tmp_path: Path) -> None:
    drive = Drive(tmp_path, Search(head="none", space={"recipe.lr": [0.1, 0.05], "recipe.epochs": [1, 2]}))

    drive.work()

    assert {(c.recipe.lr, c.recipe.epochs) for c in drive.trained} == {(0.1, 1), (0.1, 2), (0.05, 1), (0.05, 2)}
    winner = drive.points.winner()
    assert winner is not None
    assert {run.config.recipe for run in drive.plan.final(winner).runs} == {winner.template.recipe}


@pytest.mark.parametrize(
    ("search", "path"),
    [
        (Search(space={"kernel_size": [3, 4]}), "search.space.kernel_size"),
        (Search(space={"kernel_size": {"each_stage": [3, 999]}}), "search.space.kernel_size"),
        (Search(space={"kernel_siz": [3]}), "search.space.kernel_siz"),
        (Search(space={"gamma": {"low": 0, "high": 2, "step": 1}}), "search.space.gamma"),
        (Search(head="ecaa", space={"kernel_size": [3]}), "search.head"),
        (Search(head={"se": {"reduction": [4, 7]}}), "search.head.se.reduction"),
        (Search(space={"recipe.learning_rate": [1]}), "search.space.recipe.learning_rate"),
        (Search(space={"recipe.epochs": [0]}), "search.space.recipe.epochs"),
    ],
)
def test_impossible_points_are_refused_before_anything_is_trained(search: Search, path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        SearchPlan(experiment(search))

    assert refused.value.path == path


def test_another_space_is_refused_with_the_difference(tmp_path: Path) -> None:
    Drive(tmp_path, Search(space={"kernel_size": [1, 3]})).work()

    with pytest.raises(UserError, match=r"search\.space\.kernel_size: \[1, 3\] there, \[1, 5\] here(.|\n)*--out DIR"):
        Drive(tmp_path, Search(space={"kernel_size": [1, 5]}))


def test_the_pruning_callback_refuses_an_unknown_metric() -> None:
    study = optuna.create_study()

    with pytest.raises(ConfigError, match=r"search\.metric: unknown metric of validation 'val_acc'"):
        Pruning(study.ask(), "val_acc")


@pytest.mark.slow
def test_a_whole_search_on_digits_from_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(
        "data: {name: digits}\nbackbone: {name: resnet20, width: 0.5}\nseeds: 2\n"
        "recipe: {epochs: 1, batch_size: 128}\n"
        "search: {head: eca, space: {kernel_size: [1, 3, adaptive]}, sampler: all, pruner: median}\n"
    )
    out = tmp_path / "out"

    assert main(["plan", str(file), "--out", str(out), "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert (facts["points"], facts["networks"], facts["runs_done"], facts["runs_missing"]) == (3, 2, 0, 4)

    assert main(["run", str(file), "--out", str(out), "--workers", "2"]) == 0
    first = {name: (out / name).read_text() for name in ("table.csv", "networks.csv", "points.csv", "runs.csv")}
    assert len(load_curves(out, SEARCH_FILE)) == 4
    assert set(load_curves(out)["seed"]) == {2, 3}
    capfd.readouterr()
    assert main(["plan", str(file), "--out", str(out), "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert (facts["runs_done"], facts["runs_missing"]) == (4, 0)

    assert main(["run", str(file), "--out", str(out)]) == 0
    assert "0 runs to train" in capfd.readouterr().err
    assert {name: (out / name).read_text() for name in first} == first
    study = optuna.load_study(study_name="runs", storage=storage_url(out))
    done = [trial for trial in study.get_trials(states=(TrialState.COMPLETE,)) if "row" in trial.user_attrs]
    counts = Counter(trial.user_attrs["purpose"] for trial in done)
    assert counts["search"] == 4
    assert counts["final"] == len(first["runs.csv"].splitlines()) - 1 == len(set(first["runs.csv"].splitlines())) - 1
    assert max(Counter(trial.user_attrs["key"] for trial in done).values()) == 1


@pytest.mark.slow
def test_two_workers_on_one_sampled_search_train_no_network_twice_and_leave_no_gap(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(
        "data: {name: digits}\nbackbone: {name: resnet20, width: 0.5}\nseeds: 2\n"
        "recipe: {epochs: 1, batch_size: 256}\n"
        "search: {head: eca, space: {kernel_size: {each_stage: [1, 3]}}, sampler: tpe, trials: 8, batch: 3}\n"
    )
    out = tmp_path / "out"

    assert main(["run", str(file), "--out", str(out), "--workers", "2"]) == 0

    points = optuna.load_study(study_name="points", storage=storage_url(out)).get_trials()
    runs = optuna.load_study(study_name="runs", storage=storage_url(out)).get_trials()
    done = Counter(trial.user_attrs["key"] for trial in runs if "row" in trial.user_attrs)
    assert max(done.values()) == 1
    assert len(points) == 8
    assert all(trial.state == TrialState.COMPLETE for trial in points)
    assert {key for trial in points for key in trial.user_attrs["runs"]} <= set(done)
    searched = [trial for trial in runs if trial.user_attrs.get("purpose") == "search"]
    assert len(searched) == 2 * len({trial.user_attrs["network"] for trial in points})
    assert not [trial for trial in runs if not trial.state.is_finished()]


def test_the_search_is_part_of_what_binds_a_folder() -> None:
    plan = SearchPlan(experiment(Search(space={"kernel_size": [1, 3]})))
    other = SearchPlan(replace(experiment(Search(space={"kernel_size": [1, 3]})), recipe=Recipe(epochs=3)))

    assert plan.binding["search"]["space"] == {"kernel_size": [1, 3]}
    assert plan.binding != other.binding
