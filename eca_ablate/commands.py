"""What each command does, once its arguments are parsed."""

from __future__ import annotations

import json
import os
import shlex
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.progress import track
from torch import nn

from eca_ablate.backbones import attach, build_backbone
from eca_ablate.config import DataConfig
from eca_ablate.cost import count, measure_speed
from eca_ablate.data import prepare
from eca_ablate.display import PlanProgress
from eca_ablate.doctor import examine
from eca_ablate.engine import ENGINES, Event, Job
from eca_ablate.errors import UserError
from eca_ablate.loading import load_experiment
from eca_ablate.machine import best_device, device_name
from eca_ablate.plan import Plan, make_plan, resolve_arms
from eca_ablate.report import write_tables
from eca_ablate.run import next_head
from eca_ablate.study import RunsStudy, export, storage_url


def run_experiment(
    file: str, overrides: Sequence[str], out: str | None, storage: str | None, engine: str, workers: int | None
) -> int:
    """Plan, train what is missing, report. Returns the exit code."""
    experiment = load_experiment(file, overrides)
    folder = _folder(file, out)
    if not experiment.data.stream:
        prepare(experiment.data)
    folder.mkdir(parents=True, exist_ok=True)
    study = RunsStudy(storage or storage_url(folder), folder)
    plan = make_plan(experiment, precision=_planned_precision(study))
    study.add(plan)
    keys = {run.config.key() for run in plan.runs}
    missing = keys - set(study.rows())
    _say(f"{_counts(plan)}; {len(keys) - len(missing)} done, {len(missing)} to train on {device_name()}")
    write = partial(_export, study, folder, plan, Path(file).stem)
    if missing:
        job = Job(study.url, str(folder.resolve()), _absolute(experiment.data.root), experiment.threads)
        crew = min(workers or _default_workers(experiment.threads), len(missing))

        def on_event(event: Event) -> None:
            progress.show(event)
            if event.kind == "end":
                write()

        try:
            with PlanProgress(len(missing), experiment.recipe.epochs) as progress:
                ENGINES[engine](job, crew, on_event)
        except (KeyboardInterrupt, SystemExit):
            done = write()
            _say(f"stopped with {done} of {len(keys)} runs done; the same command goes on from here")
            raise
    done = write()
    reasons = {key: reason for key, reason in study.failures().items() if key in keys}
    if done:
        table = write_tables(folder, command=_command("run", file, overrides, out))
        sys.stdout.write(table.read_text(encoding="utf-8"))
        _say(f"tables and rows are in {folder}")
    if reasons:
        raise UserError(
            f"{len(reasons)} of {len(keys)} runs failed; the same command tries them again. Reasons:\n"
            + "\n".join(f"  {reason}" for reason in dict.fromkeys(reasons.values()))
        )
    return 0


def show_plan(file: str, overrides: Sequence[str], out: str | None, storage: str | None, as_json: bool) -> int:
    """Print what `run` would train, and which rows are the same network. Returns the exit code."""
    experiment = load_experiment(file, overrides)
    folder = _folder(file, out)
    study = RunsStudy(storage or storage_url(folder), folder) if storage or (folder / "study.db").exists() else None
    plan = make_plan(experiment, precision=_planned_precision(study))
    rows = study.rows() if study else {}
    if study and study.binding() is not None:
        study.require(plan.binding)
    keys = [run.config.key() for run in plan.runs]
    done = [key for key in keys if key in rows]
    seconds = [float(rows[key]["seconds"]) for key in done]
    crew = _default_workers(experiment.threads)
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
        _print_json(facts)
        return 0
    table = pd.DataFrame(heads)[["label", "head", "kernel_sizes", "formula", "same_as"]]
    print(table.rename(columns={"kernel_sizes": "k", "same_as": "same network as"}).to_string(index=False))
    time = f", about {_duration(estimate)} with {crew} workers" if estimate is not None and left else ""
    print(f"\n{_counts(plan)}; {len(done)} done, {left} to train{time}")
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
    size = image_size or (224 if backbone.stem == "imagenet" else 32)
    outputs = classes or (1000 if backbone.stem == "imagenet" else 10)
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
        _print_json(facts)
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
        _print_json(found)
    else:
        for name, value in found["facts"].items():
            shown = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else value
            print(f"{name:16} {shown}")
        for problem in found["problems"]:
            print(f"PROBLEM          {problem}")
    return 0 if found["ok"] else 1


def _folder(file: str, out: str | None) -> Path:
    return Path(out) if out else Path("results") / Path(file).stem


def _absolute(root: str | None) -> str | None:
    return None if root is None else str(Path(root).expanduser().resolve())


def _planned_precision(study: RunsStudy | None) -> str | None:
    bound = study.binding() if study else None
    return bound["recipe"]["precision"] if bound else None


def _default_workers(threads: int) -> int:
    if best_device().type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, cores // threads))


def _export(study: RunsStudy, folder: Path, plan: Plan, experiment: str) -> int:
    return export(folder, plan, study.rows(), experiment)


def _counts(plan: Plan) -> str:
    arms, networks, seeds = len(plan.arms), plan.networks, len({run.config.seed for run in plan.runs})
    return f"{arms} heads, {networks} distinct networks × {seeds} seeds = {len(plan.runs)} runs"


def _duration(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 3600
        else f"{seconds / 60:.0f} min"
        if seconds >= 90
        else f"{seconds:.0f} s"
    )


def _command(verb: str, file: str, overrides: Sequence[str], out: str | None) -> str:
    return shlex.join(["eca-ablate", verb, file, *overrides, *(["--out", out] if out else [])])


def _print_json(facts: dict[str, Any]) -> None:
    print(json.dumps(facts, indent=2, ensure_ascii=False))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
