"""`plan`, `cost`, `data prepare` and `doctor`: commands that train nothing."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.progress import track
from torch import nn

from eca_ablate.backbones import attach, build_backbone
from eca_ablate.commands.common import (
    counts,
    default_workers,
    duration,
    existing_study,
    planned_precision,
    print_json,
    results_folder,
)
from eca_ablate.commands.searching import search_facts
from eca_ablate.config import DataConfig, Experiment
from eca_ablate.cost import count, measure_speed
from eca_ablate.data import describe, prepare
from eca_ablate.doctor import examine
from eca_ablate.loading import load_experiment
from eca_ablate.machine import best_device, device_name
from eca_ablate.plan import make_plan, resolve_arms
from eca_ablate.run import next_head
from eca_ablate.space import ENUMERATED


def show_plan(file: str, overrides: Sequence[str], out: str | None, storage: str | None, as_json: bool) -> int:
    """Print what `run` would train, and which rows are the same network. Returns the exit code."""
    experiment = load_experiment(file, overrides)
    folder = results_folder(file, out)
    if experiment.search is not None:
        return _show_search(experiment, folder, storage, as_json)
    study = existing_study(folder, storage)
    plan = make_plan(experiment, planned_precision(study))
    rows = study.rows() if study else {}
    if study and study.binding() is not None:
        study.require(plan.binding)
    keys = [run.config.key() for run in plan.runs]
    done = [key for key in keys if key in rows]
    seconds = [float(rows[key]["seconds"]) for key in done]
    crew = default_workers(experiment.threads)
    left = len(keys) - len(done)
    estimate = statistics.mean(seconds) * left / max(1, min(crew, left)) if seconds else None
    firsts = {repr(arm.blocks): arm.label for arm in reversed(plan.arms)}
    heads = [
        {
            **arm.facts(),
            "kernel_sizes": arm.kernel_sizes,
            "blocks": list(arm.blocks),
            "same_as": "" if firsts[repr(arm.blocks)] == arm.label else firsts[repr(arm.blocks)],
        }
        for arm in plan.arms
    ]
    facts = {
        "networks": plan.networks,
        "seeds": experiment.seed_list(),
        "runs": len(keys),
        "runs_done": len(done),
        "runs_missing": left,
        "seconds_left": estimate,
        "workers": crew,
        "binding": plan.binding,
        "heads": heads,
    }
    if as_json:
        print_json(facts)
        return 0
    table = pd.DataFrame(heads)[["label", "head", "kernel_sizes", "formula", "same_as"]]
    print(table.rename(columns={"kernel_sizes": "k", "same_as": "same network as"}).to_string(index=False))
    time = f", about {duration(estimate)} with {crew} workers" if estimate is not None and left else ""
    print(f"\n{counts(plan)}; {len(done)} done, {left} to train{time}")
    return 0


def _show_search(experiment: Experiment, folder: Path, storage: str | None, as_json: bool) -> int:
    facts = search_facts(experiment, folder, storage)
    if as_json:
        print_json(facts)
        return 0
    most = "" if experiment.search and experiment.search.sampler in ENUMERATED else "at most "
    print(f"points             {facts['points']}")
    print(f"distinct networks  {most}{facts['networks']}")
    print(f"seeds              {len(facts['seeds'])}")
    print(f"runs done          {facts['runs_done']}")
    print(f"runs missing       {most}{facts['runs_missing']}")
    if facts["seconds_left"]:
        print(f"time left          about {duration(facts['seconds_left'])} with {facts['workers']} workers")
    print(f"then               winner, vanilla, ECA (k=3), ECA (adaptive) on fresh seeds {facts['fresh_seeds']}")
    return 0


def show_cost(
    file: str | None,
    overrides: Sequence[str],
    image_size: int | None,
    classes: int | None,
    batch_size: int,
    rounds: int,
    as_json: bool,
) -> int:
    """Print weights, multiply-accumulates and measured speed of every head. Returns the exit code."""
    experiment = load_experiment(file, overrides)
    backbone = experiment.backbone.resolve()
    if file is None:
        usual = (224, 1000) if backbone.stem == "imagenet" else (32, 10)
    else:
        info = describe(experiment.data)
        usual = (info.image_size, info.num_classes)
    size, outputs = image_size or usual[0], classes or usual[1]
    table: list[dict[str, Any]] = []
    nets: dict[str, nn.Module] = {}
    for arm in resolve_arms(experiment):
        net = build_backbone(backbone.name, outputs, stem=backbone.stem, width=backbone.width)
        attach(net, next_head(arm.blocks))
        table.append(
            {
                "label": arm.label,
                "kernel_sizes": arm.kernel_sizes,
                "formula": arm.formula,
                **asdict(count(net, size)),
            }
        )
        nets[arm.label] = net.to(best_device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    facts: dict[str, Any] = {
        "backbone": f"{backbone.name}, {backbone.stem} stem, width {backbone.width:g}",
        "image_size": size,
        "num_classes": outputs,
        "heads": table,
    }
    if rounds:
        measured = measure_speed(nets, size, batch_size, rounds)
        figures = list(track(measured, "measuring", total=rounds, disable=not sys.stderr.isatty(), transient=True))
        for row, (kind, verb) in product(table, (("train", "training"), ("infer", "inference"))):
            ours, vanilla = f"{row['label']}/{kind}", f"{table[0]['label']}/{kind}"
            row[f"{verb}_images_per_second"] = round(statistics.median(f[ours] for f in figures), 1)
            row[f"{verb}_ratio"] = round(statistics.median(f[ours] / f[vanilla] for f in figures), 3)
        facts |= {"device": device_name(), "batch_size": batch_size, "rounds": rounds}
    if as_json:
        print_json(facts)
        return 0
    print(pd.DataFrame(table).to_string(index=False))
    print(f"\n{facts['backbone']}; {size}×{size} pixels, {outputs} classes; MACs of one image")
    if rounds:
        print(
            f"speed on {facts['device']}, batch {batch_size}, fp32, {torch.get_num_threads()} threads: medians of "
            f"{rounds} rounds in turn; ratios to {table[0]['label']} within a round"
        )
    return 0


def prepare_data(name: str, root: str | None, image_size: int | None) -> int:
    """Download, verify and decode a data set, or see that it is there. Returns the exit code."""
    info = prepare(DataConfig(name=name, root=root, image_size=image_size))  # type: ignore[arg-type]
    print(
        f"{name}: {info.n_train} train, {info.n_validation} validation and {info.n_test} test images of "
        f"{info.image_size}×{info.image_size} pixels in {info.num_classes} classes; fingerprint {info.fingerprint}"
    )
    return 0


def show_doctor(as_json: bool) -> int:
    """Print what this machine can do; the exit code is 1 if something is wrong."""
    found = examine()
    if as_json:
        print_json(found)
    else:
        for name, value in found["facts"].items():
            shown = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else value
            print(f"{name:16} {shown}")
        for problem in found["problems"]:
            print(f"PROBLEM          {problem}")
    return 0 if found["ok"] else 1
