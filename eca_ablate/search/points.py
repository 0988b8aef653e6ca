"""From a search to its points: each is resolved to a network before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from eca_ablate.config import Experiment, Recipe, RunConfig
from eca_ablate.errors import ConfigError, one_of
from eca_ablate.heads import HEADS, head_class, head_label
from eca_ablate.plan import Arm, Plan, PlannedRun, binding_of, block_channels, make_plan, make_template, resolve_head
from eca_ablate.space import ENUMERATED, path_of


@dataclass(frozen=True)
class Point:
    """What a sampler proposed, resolved.

    Args:
        params: as proposed.
        template: the configuration of its runs, seed 0.
        arm: the network's row.
        below_one: whether |t| < 1 in some stage, so that the rule gives k = 1 there.
    """

    params: dict[str, Any]
    template: RunConfig
    arm: Arm
    below_one: bool

    @property
    def network(self) -> str:
        """Return the hash of the network and how it is trained."""
        return self.template.network()

    def run(self, seed: int) -> PlannedRun:
        """Return the run with a seed."""
        return PlannedRun(replace(self.template, seed=seed), (self.arm,))


class SearchPlan:
    """An experiment's search, checked and resolved as far as it can be before anything is trained.

    Args:
        experiment: with a `search`.
        precision: what `precision: auto` became when the experiment was first planned, if it was.

    Raises:
        ConfigError: for a space with an impossible point, naming the path of its key.
    """

    def __init__(self, experiment: Experiment, precision: str | None = None) -> None:
        assert experiment.search is not None  # noqa: S101  (the caller asks for a search)
        self.experiment, self.search, self.precision = experiment, experiment.search, precision
        for name, path in self.search.heads().items():
            if name not in HEADS:
                raise ConfigError(
                    "search.head" if isinstance(self.search.head, str) else path, one_of("head", name, HEADS)
                )
        self.channels = tuple(dict(block_channels(experiment.backbone)).values())
        self.parameters = self.search.parameters(len(self.channels))
        self._check_ends()
        self.template, self.info = make_template(experiment, precision)
        self.seeds = experiment.seed_list()
        self.fresh_seeds = [1 + max(self.seeds) + i for i in range(len(self.seeds))]
        self.binding = {**binding_of(self.template), "search": asdict(self.search), "seeds": self.seeds}

    @cached_property
    def points(self) -> list[Point]:
        """Return every point, in order, where the sampler enumerates them; none else."""
        if self.search.sampler not in ENUMERATED:
            return []
        return [self.resolve(params) for params in self.search.points(len(self.channels))]

    def resolve(self, params: Mapping[str, Any]) -> Point:
        """Return the network that a point stands for.

        Raises:
            ConfigError: if it cannot be built.
        """
        name, options, changes = self.search.split(params)
        blocks, kernel_sizes = resolve_head(self.experiment.backbone, name, options, self.search.heads()[name])
        template = replace(self.template, blocks=blocks, recipe=_changed(self.template.recipe, changes))
        label = f"{head_class(name).title} {kernel_sizes}" if kernel_sizes else head_label(name, options)
        label = ", ".join([label, *(f"{key}={value:g}" for key, value in changes.items())])
        arm = Arm(0, label, name, options, head_class(name).formula(**options), blocks, kernel_sizes)
        return Point(dict(params), template, arm, _below_one(name, options, self.channels))

    def _check_ends(self) -> None:
        """Refuse impossible values before anything is trained, each by the path it was written under."""
        middle = {parameter.name: parameter.ends()[0] for parameter in self.parameters}
        for parameter in self.parameters:
            for value in parameter.ends():
                point = {**middle, parameter.name: value}
                head = parameter.head or point.get("head")
                if head is not None:
                    owners = {p.name: p.head for p in self.parameters}
                    point = {n: v for n, v in point.items() if owners[n] in (None, head)} | {"head": head}
                name, options, changes = self.search.split(point)
                path = path_of(self.search, parameter.name)
                try:
                    resolve_head(self.experiment.backbone, name, options, self.search.heads()[name])
                    _changed(self.experiment.recipe, changes)
                except ConfigError as error:
                    reason = str(error).removeprefix(f"{error.path}: ")
                    raise ConfigError(path if parameter.name != "head" else error.path, reason) from error

    def final(self, winner: Point) -> Plan:
        """Return the runs that the table shows: the winner and what it is compared with, on seeds no choice has seen.

        All of them are trained by the winner's recipe.
        """
        heads: list[str | dict[str, Any]] = [
            {"name": winner.arm.head, **_plain(winner.arm.options), "label": f"Winner: {winner.arm.label}"},
            {"name": "none", "label": "Vanilla"},
            {"name": "eca", "kernel_size": 3, "label": "ECA (k=3)"},
            {"name": "eca", "gamma": 2, "b": 1, "label": "ECA (adaptive)"},
        ]
        experiment = replace(
            self.experiment, search=None, heads=heads, seeds=self.fresh_seeds, recipe=winner.template.recipe
        )
        return make_plan(experiment, self.precision)


def _changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    numeric = {name for name, value in asdict(recipe).items() if type(value) in (int, float)}
    whole = {name for name in numeric if isinstance(getattr(recipe, name), int)}
    values: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in numeric:
            raise ConfigError(
                f"search.space.recipe.{name}", f"only numeric keys can be searched: {', '.join(sorted(numeric))}"
            )
        if isinstance(value, str) or (name in whole and value != int(value)):
            raise ConfigError(
                f"search.space.recipe.{name}",
                f"must be {'whole numbers' if name in whole else 'numbers'}, but got {value!r}",
            )
        values[name] = int(value) if name in whole else float(value)
    return replace(recipe, **values)


def _below_one(name: str, options: Mapping[str, Any], channels: tuple[int, ...]) -> bool:
    by_rule = name == "eca" and options.get("kernel_size") in (None, "adaptive")
    gamma, b = options.get("gamma", 2), options.get("b", 1)
    return by_rule and any(abs(math.log2(c) + b) / gamma < 1 for c in channels)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
