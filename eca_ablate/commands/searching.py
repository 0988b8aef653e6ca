"""`run` and `plan` of an experiment with a `search`."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from eca_ablate.commands.carrying import Manner, carry_out, raise_failures
from eca_ablate.commands.common import default_workers, existing_study, make_folder, planned_precision, say, show
from eca_ablate.config import Experiment
from eca_ablate.engine import Event
from eca_ablate.errors import UserError
from eca_ablate.files import write_atomically
from eca_ablate.loading import read_header
from eca_ablate.machine import device_name
from eca_ablate.plan import Plan, PlannedRun, binding_of
from eca_ablate.report import SEARCH_FILE, write_points
from eca_ablate.report.about import About, write_about
from eca_ablate.report.publish import publish
from eca_ablate.search import Point, PointsStudy, SearchPlan, run_pruner
from eca_ablate.storage import storage_url
from eca_ablate.study import RunsStudy, export


def run_search(
    experiment: Experiment,
    file: str,
    folder: Path,
    storage: str | None,
    manner: Manner,
    command: str,
) -> int:
    """Search, choose on validation, compare the winner on fresh seeds, report. Returns the exit code."""
    assert experiment.search is not None  # noqa: S101  (the caller asks for a search)
    search = experiment.search
    plan = SearchPlan(experiment, planned_precision(existing_study(folder, storage, search.metric)))
    make_folder(folder)
    pruner = run_pruner(search.pruner, experiment.recipe.epochs)
    runs = RunsStudy(storage or storage_url(folder), folder, search.metric, pruner)
    runs.bind(plan.binding)
    write_about(folder, About(*read_header(file), command, binding_of(plan.template)))
    course = _Course(plan, runs, folder, Path(file).stem)
    runs.keep_open(True)
    expected = course.go_on()
    say(f"{describe(plan)}; {expected} runs to train now on {device_name()}")
    manner.say_what_is_missing(folder, runs.rows().values())
    try:
        if expected:
            carry_out(experiment, runs, folder, expected, manner, course.on_end)
    finally:
        course.write()
    course.write(explain=True)
    show(publish(folder, command), folder)
    raise_failures(runs, course.keys)
    if course.final is None:
        raise UserError("no point of the search has a complete network, so there is no winner to compare")
    return 0


class _Course:
    """The course of a search: points until all are told, then the winner and its comparison."""

    def __init__(self, plan: SearchPlan, runs: RunsStudy, folder: Path, name: str) -> None:
        self.plan, self.runs, self.folder, self.name = plan, runs, folder, name
        self.points = PointsStudy(plan, runs, folder)
        self.final: Plan | None = None

    @property
    def keys(self) -> set[str]:
        """Return the keys of all runs so far."""
        final = {run.config.key() for run in self.final.runs} if self.final else set()
        return {run.config.key() for run in self._searched()} | final

    def go_on(self) -> int:
        """Let what comes next wait, and return how many runs now wait or work."""
        with self.runs.lock:  # the same search may be carried on by another machine
            if self.final is None and self.points.advance():
                winner = self.points.winner()
                if winner is not None and not self.points.failed:
                    self.final = self.plan.final(winner)
                    self.runs.enqueue(self.final.runs, purpose="final")
                self.runs.keep_open(False)
        return self.runs.unfinished()

    def on_end(self, event: Event) -> int:
        """Take note of a run's end; return how many runs there are more than were expected."""
        if event.kind == "failed":
            self.points.failed.add(event.key)
        before = self.runs.unfinished()
        more = self.go_on() - before
        self.write()
        return more

    def write(self, explain: bool = False) -> None:
        """Write rows, points and what the report needs to know of the search."""
        search = self.plan.search
        write_points(self.folder, self.points.table())
        export(self.folder, self._searched(), self.runs, self.name, file=SEARCH_FILE)
        export(self.folder, self.final.runs if self.final else (), self.runs, self.name)
        facts = {
            **asdict(search),
            "direction": search.direction,
            "seeds": self.plan.seeds,
            "fresh_seeds": self.plan.fresh_seeds,
            "channels": list(self.plan.channels),
        }
        write_atomically(self.folder / "search.json", json.dumps(facts, indent=2) + "\n")
        importance = self.points.importance() if explain else None
        if importance is not None:
            write_atomically(self.folder / "importance.json", json.dumps(importance, indent=2) + "\n")

    def _searched(self) -> list[PlannedRun]:
        networks: dict[str, Point] = {}
        for point in self.points.points():
            networks.setdefault(point.network, point)
        return [
            PlannedRun(run.config, (replace(run.arms[0], row=row),))
            for row, point in enumerate(networks.values())
            for run in (point.run(seed) for seed in self.plan.seeds)
        ]


def search_facts(experiment: Experiment, folder: Path, storage: str | None) -> dict[str, Any]:
    """Return what `plan` says of a search.

    Where a sampler proposes the points, networks and missing runs are upper bounds: one network for each point.
    """
    assert experiment.search is not None  # noqa: S101  (the caller asks for a search)
    search = experiment.search
    runs = existing_study(folder, storage, search.metric)
    plan = SearchPlan(experiment, planned_precision(runs))
    if runs is not None and runs.binding() is not None:
        runs.require(plan.binding)
    rows = runs.rows() if runs else {}
    points = len(plan.points) or search.trials or 0
    networks = len({point.network for point in plan.points}) or points
    seeds = set(plan.seeds)
    done = [row for row in rows.values() if row["seed"] in seeds]
    final = len(rows) - len(done)
    left = networks * len(seeds) - len(done)
    workers = default_workers(experiment.threads)
    speed = statistics.mean(float(row["seconds"]) for row in rows.values()) if rows else None
    return {
        "points": points,
        "networks": networks,
        "seeds": plan.seeds,
        "runs_done": len(done),
        "runs_missing": left,
        "fresh_seeds": plan.fresh_seeds,
        "final_runs_done": final,
        "workers": workers,
        "seconds_left": None if speed is None else speed * left / workers,
        "binding": plan.binding,
    }


def describe(plan: SearchPlan) -> str:
    """Say how large a search is."""
    seeds = len(plan.seeds)
    if not plan.points:
        return f"{plan.search.trials} points by `{plan.search.sampler}`, {seeds} seeds for each distinct network"
    networks = len({point.network for point in plan.points})
    return f"{len(plan.points)} points, {networks} distinct networks × {seeds} seeds = {networks * seeds} runs"
