"""The points study, beside the runs study: a trial is a point that names its network and that network's runs."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from eca_ablate.plan import PlannedRun
from eca_ablate.search.points import Point, SearchPlan
from eca_ablate.search.proposing import distribution, point_pruner, sampler_for, suggest
from eca_ablate.storage import open_study
from eca_ablate.study import RunsStudy

Rows = Mapping[str, dict[str, Any]]


class PointsStudy:
    """Drives a search: proposes points, lets their runs wait, and tells the sampler what came of them.

    The value of a point is the mean of the metric over its network's runs, shared by every point that resolves to the
    same network. Which points are proposed is a function of the experiment: batches have a fixed size, and the next
    one is proposed when all of the last have been told.

    Args:
        plan: of the search.
        runs: the runs study.
        folder: of the results.
    """

    def __init__(self, plan: SearchPlan, runs: RunsStudy, folder: Path) -> None:
        self.plan, self.runs = plan, runs
        self._study = open_study(runs.url, folder, "points", plan.search.metric, point_pruner(plan.search))
        self._resolved: dict[int, Point] = {}
        self.failed: set[str] = set()

    def advance(self) -> bool:
        """Tell what is finished, propose what comes next, let its runs wait.

        Returns:
            Whether there is nothing more to train: all points are told, but for those with a run in `failed`.
        """
        rows, pruned = self.runs.rows(), self.runs.pruned()
        needed = self._visit(rows, pruned) if self._at_once else self._converse(rows, pruned)
        seeds = {seed: place for place, seed in enumerate(self.plan.seeds)}
        self.runs.enqueue(sorted(needed, key=lambda run: seeds[run.config.seed]), purpose="search")
        return not needed

    @property
    def _at_once(self) -> bool:
        """Whether all points are known beforehand and none depends on another."""
        return bool(self.plan.points) and self.plan.search.pruner != "wilcoxon"

    def _visit(self, rows: Rows, pruned: set[str]) -> list[PlannedRun]:
        """Record the points whose networks are finished, and return the runs that the others need."""
        recorded = {trial.user_attrs["point"] for trial in self._study.get_trials(deepcopy=False)}
        ranges = {parameter.name: distribution(parameter) for parameter in self.plan.parameters}
        needed: dict[str, PlannedRun] = {}
        for number, point in enumerate(self.plan.points):
            if number in recorded:
                continue
            outcome, value, missing = self._outcome(point, rows, pruned)
            if outcome is not None:
                self._study.add_trial(
                    create_trial(
                        state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
                        value=value,
                        params=point.params,
                        distributions={name: ranges[name] for name in point.params},
                        user_attrs={**self._facts(number, point), "outcome": outcome},
                    )
                )
            needed |= {run.config.key(): run for run in missing}
        return list(needed.values())

    def _converse(self, rows: Rows, pruned: set[str]) -> list[PlannedRun]:
        """Tell what is finished and ask for more, until some run is needed or the search is over."""
        wanted = len(self.plan.points) or self.plan.search.trials or 0
        while True:
            needed = [run for trial in self._asked() for run in self._judge(trial, rows, pruned)]
            left = wanted - len(self._study.get_trials(deepcopy=False))
            if needed or left <= 0:
                return needed
            for _ in range(min(self.plan.search.batch, left)):
                self._propose()

    def _asked(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _propose(self) -> None:
        number = len(self._study.get_trials(deepcopy=False))
        if self.plan.points:
            self._study.enqueue_trial(self.plan.points[number].params)
        self._study.sampler = sampler_for(self.plan.search, number)
        trial = self._study.ask()
        chosen: str | None = None
        for parameter in self.plan.parameters:
            if parameter.head in (None, chosen):
                value = suggest(trial, parameter)
                chosen = value if parameter.name == "head" else chosen
        for name, fact in self._facts(number, self._point(number, trial.params)).items():
            trial.set_user_attr(name, fact)

    def _facts(self, number: int, point: Point) -> dict[str, Any]:
        runs = [point.run(seed).config.key() for seed in self.plan.seeds]
        return {"point": number, "network": point.network, "label": point.arm.label, "runs": runs}

    def _point(self, number: int, params: dict[str, Any]) -> Point:
        if number not in self._resolved:
            self._resolved[number] = self.plan.resolve(params)
        return self._resolved[number]

    def _outcome(self, point: Point, rows: Rows, pruned: set[str]) -> tuple[str | None, float | None, list[PlannedRun]]:
        """Return what came of a point and its value, or the runs it still needs."""
        runs = {run.config.key(): run for run in (point.run(seed) for seed in self.plan.seeds)}
        done = [rows[key] for key in runs if key in rows]
        if any(row["status"] == "diverged" for row in done):
            return "diverged", None, []
        if pruned.intersection(runs):
            return "pruned", None, []
        if len(done) == len(runs):
            return "complete", statistics.mean(float(row[self.plan.search.metric]) for row in done), []
        return None, None, [] if self.failed.intersection(runs) else [r for k, r in runs.items() if k not in rows]

    def _judge(self, asked: FrozenTrial, rows: Rows, pruned: set[str]) -> list[PlannedRun]:
        """Tell the study what came of a point, or return the runs it needs next."""
        point = self._point(asked.number, asked.params)
        outcome, value, missing = self._outcome(point, rows, pruned)
        one_by_one = self.plan.search.pruner == "wilcoxon"
        if outcome is None and (
            point.network in self._given_up() or (one_by_one and self._hopeless(asked, point, rows))
        ):
            outcome = "pruned"
        if outcome is None:
            return missing[:1] if one_by_one else missing
        # Pruned, not failed, so that the sampler learns to keep away; neither can ever be the best.
        Trial(self._study, asked._trial_id).set_user_attr("outcome", outcome)
        self._study.tell(asked.number, value, state=TrialState.PRUNED if value is None else TrialState.COMPLETE)
        return []

    def _hopeless(self, asked: FrozenTrial, point: Point, rows: Rows) -> bool:
        """Report the seeds that are done, and ask whether those in common with the best network settle it."""
        trial = Trial(self._study, asked._trial_id)
        for step, seed in enumerate(self.plan.seeds):
            key = point.run(seed).config.key()
            if key in rows and step not in asked.intermediate_values:
                trial.report(float(rows[key][self.plan.search.metric]), step)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that few seeds cannot be told apart is no news
            return trial.should_prune()

    def _given_up(self) -> set[str]:
        told = self._study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
        return {trial.user_attrs["network"] for trial in told if trial.user_attrs["outcome"] == "pruned"}

    def winner(self) -> Point | None:
        """Return the best complete point, of equal ones the first; None if there is none."""
        told = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        sign = 1 if self.plan.search.direction == "maximize" else -1
        best = max(told, key=lambda t: (sign * float(t.value or 0.0), -int(t.user_attrs["point"])), default=None)
        return None if best is None else self._point(best.user_attrs["point"], best.params)

    def points(self) -> list[Point]:
        """Return the points that are known, in order: all of an enumerated space, or those proposed so far."""
        proposed = self._study.get_trials(deepcopy=False)
        return self.plan.points or [self._point(trial.number, trial.params) for trial in proposed]

    def table(self) -> list[dict[str, Any]]:
        """Return the rows of `points.csv`; points that have not been told yet are waiting."""
        trials = {trial.user_attrs["point"]: trial for trial in self._study.get_trials(deepcopy=False)}
        first: dict[str, int] = {}
        return [
            {
                "point": number,
                "network": point.network,
                "kernel_sizes": point.arm.kernel_sizes,
                "label": point.arm.label,
                "below_one": point.below_one,
                "shared_with": None if (shared := first.setdefault(point.network, number)) == number else shared,
                "params": point.params,
                **_outcome(trials.get(number)),
            }
            for number, point in enumerate(self.points())
        ]

    def importance(self) -> dict[str, Any] | None:
        """Return the share of the metric's spread that each parameter explains, and the evaluator's name.

        None where too few points are complete, or all have one value.
        """
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=64, seed=0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        except (RuntimeError, ValueError):
            return None
        return {"evaluator": "fANOVA, 64 trees, seed 0", "importance": dict(found)} if found else None


def _outcome(trial: FrozenTrial | None) -> dict[str, Any]:
    if trial is None or not trial.state.is_finished():
        return {"state": "waiting", "value": None, "finished_at": None}
    ended = trial.datetime_complete
    return {
        "state": trial.user_attrs["outcome"],
        "value": trial.value,
        "finished_at": ended.isoformat(timespec="seconds") if ended else None,
    }
