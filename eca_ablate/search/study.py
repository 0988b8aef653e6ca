"""The points study, beside the runs study: a trial is a point that names its network and that network's runs."""

from __future__ import annotations

import statistics
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from eca_ablate.plan import PlannedRun
from eca_ablate.search.points import Point, SearchPlan
from eca_ablate.search.proposing import point_pruner, sampler_for, suggest
from eca_ablate.study import RunsStudy, open_study


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
        while True:
            open_points = self._asked()
            needed = [run for trial in open_points for run in self._judge(trial, rows, pruned)]
            left = self._wanted() - len(self._study.get_trials(deepcopy=False))
            if needed or left <= 0:
                break
            for _ in range(min(self._batch(), left)):
                self._propose()
        seeds = {seed: place for place, seed in enumerate(self.plan.seeds)}
        self.runs.enqueue(sorted(needed, key=lambda run: seeds[run.config.seed]), purpose="search")
        return not needed

    def _wanted(self) -> int:
        return len(self.plan.points) or self.plan.search.trials or 0

    def _batch(self) -> int:
        # With `wilcoxon`, later networks are compared with finished ones, so they cannot all begin at once.
        together = self.plan.points and self.plan.search.pruner != "wilcoxon"
        return len(self.plan.points) if together else self.plan.search.batch

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
        point = self._point(trial.number, trial.params)
        trial.set_user_attr("network", point.network)
        trial.set_user_attr("label", point.arm.label)
        trial.set_user_attr("runs", [point.run(seed).config.key() for seed in self.plan.seeds])

    def _point(self, number: int, params: dict[str, Any]) -> Point:
        if number not in self._resolved:
            self._resolved[number] = self.plan.resolve(params)
        return self._resolved[number]

    def _judge(self, asked: FrozenTrial, rows: dict[str, dict[str, Any]], pruned: set[str]) -> list[PlannedRun]:
        """Tell the study what came of a point, or return the runs it still needs."""
        point = self._point(asked.number, asked.params)
        runs = {run.config.key(): run for run in (point.run(seed) for seed in self.plan.seeds)}
        done = [rows[key] for key in runs if key in rows]
        if any(row["status"] == "diverged" for row in done):
            self._tell(asked, "diverged")
        elif pruned.intersection(runs) or point.network in self._given_up():
            self._tell(asked, "pruned")
        elif len(done) == len(runs):
            self._tell(asked, "complete", statistics.mean(float(row[self.plan.search.metric]) for row in done))
        elif self.plan.search.pruner == "wilcoxon" and self._hopeless(asked, list(runs), rows):
            self._tell(asked, "pruned")
        elif not self.failed.intersection(runs):
            missing = [run for key, run in runs.items() if key not in rows]
            return missing[:1] if self.plan.search.pruner == "wilcoxon" else missing
        return []

    def _hopeless(self, asked: FrozenTrial, keys: list[str], rows: dict[str, dict[str, Any]]) -> bool:
        trial = Trial(self._study, asked._trial_id)
        for step, key in enumerate(keys):
            if key in rows and step not in asked.intermediate_values:
                trial.report(float(rows[key][self.plan.search.metric]), step)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that few seeds cannot be told apart is no news
            return trial.should_prune()

    def _given_up(self) -> set[str]:
        told = self._study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
        return {trial.user_attrs["network"] for trial in told if trial.user_attrs["outcome"] == "pruned"}

    def _tell(self, asked: FrozenTrial, outcome: str, value: float | None = None) -> None:
        # Pruned, not failed, so that the sampler learns to keep away; neither can ever be the best.
        Trial(self._study, asked._trial_id).set_user_attr("outcome", outcome)
        self._study.tell(asked.number, value, state=TrialState.PRUNED if value is None else TrialState.COMPLETE)

    def winner(self) -> Point | None:
        """Return the best complete point, of equal ones the first; None if there is none."""
        told = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        sign = 1 if self.plan.search.direction == "maximize" else -1
        best = max(told, key=lambda trial: (sign * float(trial.value or 0.0), -trial.number), default=None)
        return None if best is None else self._point(best.number, best.params)

    def points(self) -> list[Point]:
        """Return the points that have been proposed, in order."""
        return [self._point(trial.number, trial.params) for trial in self._study.get_trials(deepcopy=False)]

    def table(self) -> list[dict[str, Any]]:
        """Return the rows of `points.csv`; those of an enumerated space that were not proposed yet are waiting."""
        trials = {trial.number: trial for trial in self._study.get_trials(deepcopy=False)}
        points = dict(enumerate(self.plan.points)) or {n: self._point(n, t.params) for n, t in trials.items()}
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
            for number, point in points.items()
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
