"""What the commands share: folders, workers, words on standard error."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eca_ablate.errors import UserError
from eca_ablate.machine import best_device
from eca_ablate.plan import Plan
from eca_ablate.report.publish import Published
from eca_ablate.storage import storage_url
from eca_ablate.study import RunsStudy


def results_folder(file: str, out: str | None) -> Path:
    """Return the folder that an experiment's results go to."""
    return Path(out) if out else Path("results") / Path(file).stem


def make_folder(folder: Path) -> None:
    """Make a results folder.

    Raises:
        UserError: if that is impossible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the results folder {folder}: {error.strerror}; take another: `--out DIR`"
        ) from error


def existing_study(folder: Path, storage: str | None, metric: str = "val_top1") -> RunsStudy | None:
    """Open the study of a folder if there is one; a look at it creates nothing."""
    there = storage is not None or (folder / "study.db").exists()
    return RunsStudy(storage or storage_url(folder), folder, metric) if there else None


def planned_precision(study: RunsStudy | None) -> str | None:
    """Return what `precision: auto` became when the experiment was first planned, if it was."""
    bound = study.binding() if study else None
    return bound["recipe"]["precision"] if bound else None


def default_workers(threads: int) -> int:
    """Return as many workers as there are cores for their threads, at most eight; one where there is an accelerator."""
    if best_device().type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, cores // threads))


def counts(plan: Plan) -> str:
    """Say how many runs a plan has, and why."""
    seeds = len({run.config.seed for run in plan.runs})
    made = f"{plural(plan.networks, 'distinct network')} × {plural(seeds, 'seed')}"
    return f"{plural(len(plan.arms), 'head')}, {made} = {plural(len(plan.runs), 'run')}"


def plural(number: int, noun: str) -> str:
    """Say how many there are of something."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Say a time in the unit that suits it."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def command_line(verb: str, file: str, overrides: Sequence[str], out: str | None) -> str:
    """Return the command that makes these results, for provenance."""
    return shlex.join(["eca-ablate", verb, file, *overrides, *(["--out", out] if out else [])])


def print_json(facts: Any) -> None:
    """Print for scripts."""
    print(json.dumps(facts, indent=2, ensure_ascii=False))


def show(published: Published, folder: Path) -> None:
    """Print the tables, and say where everything is."""
    sys.stdout.write("\n".join(table.read_text(encoding="utf-8") for table in published.tables))
    say(f"tables, figures and rows are in {folder}; {published.page.name} shows them all")


def say(text: str) -> None:
    """Tell the user something that is no result."""
    print(text, file=sys.stderr, flush=True)
