"""From an experiment to the runs it needs: every head resolved to numbers, every distinct network once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from eca_ablate.backbones import build_backbone, places
from eca_ablate.config import BackboneConfig, Experiment, RunConfig
from eca_ablate.data import AblationData, DataInfo
from eca_ablate.errors import ConfigError, one_of
from eca_ablate.heads import HEADS, build_head, head_class, head_label, head_options
from eca_ablate.kernel_size import RELEASED
from eca_ablate.machine import resolve_precision


@dataclass(frozen=True)
class Arm:
    """One row of the table: a head as it was written, and what it comes down to.

    Args:
        row: its position in the experiment.
        label: its name in the table.
        head: a key of `HEADS`.
        options: as written.
        formula: of the weights of one block.
        blocks: the head of every block, canonical; the same for arms that are the same network.
        kernel_sizes: k of each stage, as in `3-5-5-7`; empty for heads without k.
    """

    row: int
    label: str
    head: str
    options: Mapping[str, Any]
    formula: str
    blocks: tuple[dict[str, Any], ...]
    kernel_sizes: str

    def facts(self) -> dict[str, Any]:
        """Return what a row says of the arm."""
        return {
            "row": self.row,
            "label": self.label,
            "head": self.head,
            "options": dict(self.options),
            "formula": self.formula,
        }


@dataclass(frozen=True)
class PlannedRun:
    """One training and the arms it serves, usually one."""

    config: RunConfig
    arms: tuple[Arm, ...]

    def facts(self) -> dict[str, Any]:
        """Return the part of the run's row that the experiment decides and the training does not."""
        first, *further = self.arms
        return {
            **first.facts(),
            "kernel_sizes": first.kernel_sizes,
            "shared_with": [arm.facts() for arm in further],
        }


@dataclass(frozen=True)
class Plan:
    """What an experiment needs.

    Args:
        arms: the rows of its table.
        runs: each distinct network once for every seed; all heads of a seed before the next seed.
        info: of the data.
        binding: what all of its runs share, and what binds a results folder to the experiment.
    """

    arms: tuple[Arm, ...]
    runs: tuple[PlannedRun, ...]
    info: DataInfo
    binding: dict[str, Any]

    @property
    def networks(self) -> int:
        """Return how many distinct networks there are."""
        return len({run.config.network() for run in self.runs})


def make_plan(experiment: Experiment, precision: str | None = None) -> Plan:
    """Resolve an experiment.

    Args:
        experiment: the question.
        precision: what `precision: auto` became when the experiment was first planned, if it was.

    Raises:
        ConfigError: for a head, option or value that cannot be, naming its path.
        DataError: if the images are absent or unreadable.
    """
    template, info = make_template(experiment, precision)
    arms = resolve_arms(experiment)
    by_network: dict[str, list[Arm]] = {}
    for arm in arms:
        by_network.setdefault(repr(arm.blocks), []).append(arm)
    runs = [
        PlannedRun(replace(template, blocks=same[0].blocks, seed=seed), tuple(same))
        for seed in experiment.seed_list()
        for same in by_network.values()
    ]
    return Plan(tuple(arms), tuple(runs), info, binding_of(template))


def make_template(experiment: Experiment, precision: str | None = None) -> tuple[RunConfig, DataInfo]:
    """Return what all runs of an experiment share, without blocks and with seed 0, and what is known of its data.

    Raises:
        DataError: if the images are absent or unreadable.
    """
    recipe = experiment.recipe
    if recipe.precision == "auto" and precision is not None:
        recipe = replace(recipe, precision=precision)  # type: ignore[arg-type]
    data = AblationData(experiment.data, resolve_precision(recipe))
    template = RunConfig(
        data=replace(experiment.data, image_size=data.info.image_size),
        fingerprint=data.info.fingerprint,
        backbone=experiment.backbone.resolve(),
        blocks=(),
        recipe=data.recipe,
        threads=experiment.threads,
    )
    return template, data.info


def binding_of(template: RunConfig) -> dict[str, Any]:
    """Return the part of a configuration that binds a results folder: all but heads, seed and the images' folder."""
    facts = template.to_dict()
    del facts["data"]["root"], facts["blocks"], facts["seed"]
    return facts


def resolve_arms(experiment: Experiment) -> list[Arm]:
    """Resolve the heads of an experiment against its backbone.

    Raises:
        ConfigError: naming `heads[i]` and, where one is to blame, its option.
    """
    arms: list[Arm] = []
    for row, spec in enumerate(experiment.head_specs()):
        path = f"heads[{row}]"
        name = spec.pop("name", None)
        if not isinstance(name, str) or name not in HEADS:
            raise ConfigError(f"{path}.name", one_of("head", name, HEADS))
        label = spec.pop("label", None)
        if label is not None and not (isinstance(label, str) and label.strip()):
            raise ConfigError(f"{path}.label", f"must be a text, but got {label!r}")
        blocks, kernel_sizes = resolve_head(experiment.backbone, name, spec, path)
        label = label or head_label(name, spec)
        if label in [arm.label for arm in arms]:
            raise ConfigError(f"{path}.label", f"every row needs a label of its own, but {label!r} is there already")
        arms.append(Arm(row, label, name, spec, head_class(name).formula(**spec), blocks, kernel_sizes))
    return arms


def resolve_head(
    backbone: BackboneConfig, name: str, options: Mapping[str, Any], path: str
) -> tuple[tuple[dict[str, Any], ...], str]:
    """Return the canonical head of every block, and k of each stage as text.

    `kernel_size` may be a number, a list with one for each stage, the name of a released model's list, or `adaptive`
    (γ = 2, b = 1).

    Raises:
        ConfigError: naming the path of the option to blame.
    """
    allowed = head_options(name)
    for option in options:
        if option not in allowed:
            known = one_of("option", option, allowed) if allowed else f"it has no options, but got {option!r}"
            raise ConfigError(f"{path}.{option}", f"`{name}`: {known}")
    shape = block_channels(backbone.resolve())
    stages = 1 + shape[-1][0]
    by_stage = _by_stage(options, stages, path)
    blocks = []
    for stage, channels in shape:
        try:
            blocks.append(build_meta(name, channels, by_stage[stage]))
        except (ValueError, OverflowError) as error:
            blamed = next((option for option in options if f"`{option}" in str(error)), None)
            where = f"stage {stage + 1} of {backbone.name} has {channels} channels"
            raise ConfigError(f"{path}.{blamed}" if blamed else path, f"{error} ({where})") from error
    first = {stage: block for (stage, _), block in reversed(list(zip(shape, blocks, strict=True)))}
    # ECA-NS with k = 1 is described as SE-Var2, which has no k
    wide = [first[stage].get("kernel_size", by_stage[stage].get("kernel_size")) for stage in range(stages)]
    return tuple(blocks), "-".join(str(k) for k in wide if k is not None)


def build_meta(name: str, channels: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the canonical description of a head without allocating its weights."""
    with torch.device("meta"):
        return build_head(name, channels, **options).description()


@cache
def block_channels(backbone: BackboneConfig) -> tuple[tuple[int, int], ...]:
    """Return stage and output channels of every residual block, in order."""
    with torch.device("meta"):
        net = build_backbone(backbone.name, 2, stem=backbone.stem, width=backbone.width)
    return tuple((place.stage, place.channels) for place in places(net))


def _by_stage(options: Mapping[str, Any], stages: int, path: str) -> list[dict[str, Any]]:
    k = options.get("kernel_size")
    if k == "adaptive":
        return [{**options, "kernel_size": None}] * stages
    if isinstance(k, str):
        if k not in RELEASED:
            raise ConfigError(
                f"{path}.kernel_size",
                "must be a number, one for each stage, or a released model: " + one_of("name", k, RELEASED),
            )
        k = list(RELEASED[k])
    if not isinstance(k, list):
        return [dict(options)] * stages
    if len(k) != stages:
        raise ConfigError(
            f"{path}.kernel_size", f"needs one number for each of the {stages} stages, but got {len(k)}: {k}"
        )
    return [{**options, "kernel_size": one} for one in k]
