"""Search spaces: what `search:` in an experiment file means, free of torch and Optuna."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from eca_ablate.errors import ConfigError, one_of

SAMPLERS = ("all", "grid", "tpe", "gp", "random")
PRUNERS = ("none", "median", "hyperband", "wilcoxon")
METRICS: dict[str, Literal["maximize", "minimize"]] = {
    "val_top1": "maximize",
    "val_top5": "maximize",
    "val_loss": "minimize",
}
ENUMERATED = ("all", "grid")
RUN_PRUNERS = ("median", "hyperband")  # stop single runs; `wilcoxon` spares a network further ones


@dataclass(frozen=True)
class Choice:
    """A parameter that takes one of some values.

    Args:
        name: in the study; `recipe.<key>` for a key of the recipe.
        values: to choose from.
        head: the head it belongs to, where the head is chosen too; else None.
    """

    name: str
    values: tuple[Any, ...]
    head: str | None = None

    def grid(self, path: str) -> tuple[Any, ...]:
        """Return all values."""
        return self.values

    def ends(self) -> tuple[Any, ...]:
        """Return the values that an impossible one must be among."""
        return self.values


@dataclass(frozen=True)
class Range:
    """A parameter between two numbers.

    Args:
        name: in the study.
        low: smallest value.
        high: largest value, reached.
        step: distance of two values; None for a continuous range.
        log: continuous, and uniform in the logarithm.
        head: the head it belongs to, where the head is chosen too; else None.
    """

    name: str
    low: float
    high: float
    step: float | None = None
    log: bool = False
    head: str | None = None

    def grid(self, path: str) -> tuple[float, ...]:
        """Return all values.

        Raises:
            ConfigError: if the range is continuous.
        """
        if self.step is None:
            raise ConfigError(f"{path}.step", "a continuous range cannot be enumerated; give a `step`, or take `tpe`")
        count = round((self.high - self.low) / self.step)
        return tuple(round(self.low + i * self.step, 10) for i in range(count + 1))

    def ends(self) -> tuple[float, ...]:
        """Return the values that an impossible one must be among."""
        return (self.low, self.high)


Parameter = Choice | Range


@dataclass(frozen=True)
class Search:
    """Which networks to look through, and how.

    Args:
        head: a head, whose options `space` lists; or a mapping from heads to the space of each one's options.
        space: options of the head and numeric keys of the recipe (`recipe.lr`), each with a list of values, or
            `{low, high, step}`, or `{low, high}` (continuous; `log: true` for a logarithmic one). `kernel_size` may be
            `{each_stage: [1, 3, 5]}`, one k for each stage, and a list may hold `adaptive` (γ = 2, b = 1).
        sampler: `all` and `grid` visit every distinct network once; `tpe`, `gp` and `random` propose `trials` points.
        pruner: `median` and `hyperband` stop hopeless runs, `wilcoxon` spares hopeless networks their further seeds.
        trials: how many points `tpe`, `gp` and `random` propose.
        metric: of validation, averaged over the seeds of a network.
        seed: of the sampler.
        batch: points that `tpe`, `gp` and `random` propose at a time, before they see how those did. Part of the
            experiment, so that the points do not depend on the number of workers.
    """

    head: str | dict[str, Any] = "eca"
    space: dict[str, Any] = field(default_factory=dict)
    sampler: str = "all"
    pruner: str = "none"
    trials: int | None = None
    metric: str = "val_top1"
    seed: int = 0
    batch: int = 4

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ConfigError("search.sampler", one_of("sampler", self.sampler, SAMPLERS))
        if self.pruner not in PRUNERS:
            raise ConfigError("search.pruner", one_of("pruner", self.pruner, PRUNERS))
        if self.metric not in METRICS:
            reason = "; test is read once and takes part in no choice" if str(self.metric).startswith("test") else ""
            raise ConfigError("search.metric", one_of("metric of validation", self.metric, METRICS) + reason)
        if self.batch < 1:
            raise ConfigError("search.batch", f"`batch >= 1` must hold, but got {self.batch}")
        if self.sampler in ENUMERATED and self.trials is not None:
            raise ConfigError(
                "search.trials",
                f"`{self.sampler}` visits every network, so it takes no number of trials; got {self.trials}",
            )
        if self.sampler not in ENUMERATED and (self.trials is None or self.trials < 1):
            raise ConfigError("search.trials", f"`{self.sampler}` needs `trials >= 1`, but got {self.trials}")
        conditional = isinstance(self.head, dict)
        if conditional and self.sampler == "grid":
            raise ConfigError(
                "search.sampler", "a choice of heads is no product of ranges; take `all`, `tpe` or `random`"
            )
        if conditional and len(self.head) == 0:
            raise ConfigError("search.head", "at least one head is needed, but got an empty mapping")
        if not conditional and not self.space:
            raise ConfigError("search.space", "at least one parameter is needed, but the space is empty")
        self.parameters(stages=1)

    @property
    def direction(self) -> str:
        """Return `maximize` or `minimize`."""
        return METRICS[self.metric]

    def heads(self) -> dict[str, str]:
        """Return the heads to look through, each with the path of its options."""
        if isinstance(self.head, str):
            return {self.head: "search.space"}
        return {name: f"search.head.{name}" for name in self.head}

    def parameters(self, stages: int) -> list[Parameter]:
        """Return the parameters, those that belong to one of several heads after the choice of the head.

        Args:
            stages: of the backbone; `each_stage` becomes as many parameters.

        Raises:
            ConfigError: for a space that is empty, wrong way round, skips its end, or is not understood.
        """
        found: list[Parameter] = []
        if isinstance(self.head, dict):
            found.append(Choice("head", tuple(self.head)))
            for name, options in self.head.items():
                if options is not None and not isinstance(options, dict):
                    raise ConfigError(f"search.head.{name}", f"must map options to their ranges, but got {options!r}")
                for option, written in (options or {}).items():
                    found += _read(f"{name}.{option}", written, f"search.head.{name}.{option}", stages, head=name)
            for key in self.space:
                if not str(key).startswith("recipe."):
                    raise ConfigError(
                        f"search.space.{key}", "with a choice of heads, options stand below their head: `search.head`"
                    )
        for key, written in self.space.items():
            found += _read(str(key), written, f"search.space.{key}", stages)
        return found

    def points(self, stages: int) -> Iterator[dict[str, Any]]:
        """Enumerate every point of the space.

        Raises:
            ConfigError: if a range is continuous.
        """
        parameters = self.parameters(stages)
        common = [p for p in parameters if p.head is None and p.name != "head"]
        if not isinstance(self.head, dict):
            yield from _product(common)
            return
        for name in self.head:
            own = [p for p in parameters if p.head == name]
            for point in _product([*own, *common]):
                yield {"head": name, **point}

    def split(self, point: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Return the head, its options and the changes of the recipe that a point stands for."""
        head = str(point["head"]) if isinstance(self.head, dict) else self.head
        options: dict[str, Any] = {}
        recipe: dict[str, Any] = {}
        stages: list[Any] = []
        for name, value in point.items():
            if name.startswith("recipe."):
                recipe[name.removeprefix("recipe.")] = value
            elif name != "head":
                option = name.removeprefix(f"{head}.")
                if option.startswith("kernel_size_"):
                    stages.append(value)
                else:
                    options[option] = value
        return head, options | ({"kernel_size": stages} if stages else {}), recipe


def path_of(search: Search, parameter: str) -> str:
    """Return the key in the experiment file that a parameter was written under."""
    name = parameter.split("kernel_size_")[0] + "kernel_size" if "kernel_size_" in parameter else parameter
    conditional = isinstance(search.head, dict) and not name.startswith("recipe.")
    return f"search.head.{name}" if conditional else f"search.space.{name}"


def _product(parameters: Sequence[Parameter]) -> Iterator[dict[str, Any]]:
    names = [parameter.name for parameter in parameters]
    grids = [parameter.grid(f"search.space.{parameter.name}") for parameter in parameters]
    for values in itertools.product(*grids):
        yield dict(zip(names, values, strict=True))


def _read(name: str, written: Any, path: str, stages: int, head: str | None = None) -> list[Parameter]:
    if isinstance(written, list):
        return [_choice(name, written, path, head)]
    if isinstance(written, dict) and set(written) == {"each_stage"}:
        if not name.endswith("kernel_size"):
            raise ConfigError(f"{path}.each_stage", "only `kernel_size` may differ from stage to stage")
        if not isinstance(written["each_stage"], list):
            raise ConfigError(f"{path}.each_stage", f"must be a list of numbers, but got {written['each_stage']!r}")
        each = _choice(name, written["each_stage"], f"{path}.each_stage", head)
        return [Choice(f"{name}_{stage}", each.values, head) for stage in range(1, stages + 1)]
    if isinstance(written, dict):
        return [_range(name, written, path, head)]
    raise ConfigError(path, f"must be a list of values or `{{low, high, step}}`, but got {written!r}")


def _choice(name: str, values: list[Any], path: str, head: str | None) -> Choice:
    if not values:
        raise ConfigError(path, "at least one value is needed, but the list is empty")
    if len({repr(value) for value in values}) < len(values):
        raise ConfigError(path, f"each value counts once, but got {values}")
    for i, value in enumerate(values):
        if not isinstance(value, (int, float, str)) or isinstance(value, bool):
            raise ConfigError(f"{path}[{i}]", f"must be a number or a name, but got {value!r}")
    return Choice(name, tuple(values), head)


def _range(name: str, written: dict[str, Any], path: str, head: str | None) -> Range:
    known = [item.name for item in fields(Range) if item.name not in ("name", "head")]
    for key, value in written.items():
        if key not in known:
            raise ConfigError(f"{path}.{key}", one_of("key", key, [*known, "each_stage"]))
        wanted = bool if key == "log" else (int, float)
        if not isinstance(value, wanted) or (key != "log" and (isinstance(value, bool) or not math.isfinite(value))):
            raise ConfigError(
                f"{path}.{key}", f"must be a {'truth value' if key == 'log' else 'number'}, but got {value!r}"
            )
    if "low" not in written or "high" not in written:
        raise ConfigError(path, f"needs `low` and `high`, but got {written}")
    low, high, step = float(written["low"]), float(written["high"]), written.get("step")
    log = bool(written.get("log", False))
    if low > high:
        raise ConfigError(path, f"`low <= high` must hold, but got low={low:g}, high={high:g}")
    if log and (low <= 0 or step is not None):
        raise ConfigError(f"{path}.log", f"a logarithmic range is continuous and above 0, but got {written}")
    if step is None:
        return Range(name, low, high, None, log, head)
    steps = (high - low) / step if step > 0 else math.nan
    if not (steps >= 0 and math.isclose(steps, round(steps), abs_tol=1e-9)):
        raise ConfigError(
            f"{path}.step",
            f"whole steps must lead from low to high, but got low={low:g}, high={high:g}, step={step:g}, which skips "
            f"{high:g}",
        )
    return Range(name, low, high, float(step), log, head)
