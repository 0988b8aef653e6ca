"""`run`: plan, train what is missing, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eca_ablate.commands.carrying import Manner, carry_out, raise_failures
from eca_ablate.commands.common import (
    command_line,
    counts,
    existing_study,
    make_folder,
    planned_precision,
    results_folder,
    say,
    show,
)
from eca_ablate.commands.searching import run_search
from eca_ablate.data import prepare
from eca_ablate.engine import Event
from eca_ablate.loading import load_experiment, read_header
from eca_ablate.machine import device_name
from eca_ablate.plan import make_plan, resolve_arms
from eca_ablate.report.about import About, write_about
from eca_ablate.report.publish import publish
from eca_ablate.storage import storage_url
from eca_ablate.study import RunsStudy, export


def run_experiment(file: str, overrides: Sequence[str], out: str | None, storage: str | None, manner: Manner) -> int:
    """Plan, train what is missing, report. Returns the exit code."""
    experiment = load_experiment(file, overrides)
    folder = results_folder(file, out)
    command = command_line("run", file, overrides, out)
    if experiment.search is None:
        resolve_arms(experiment)  # a head that cannot be is refused before anything is downloaded or written
    if not experiment.data.stream:
        prepare(experiment.data)
    if experiment.search is not None:
        return run_search(experiment, file, folder, storage, manner, command)
    plan = make_plan(experiment, planned_precision(existing_study(folder, storage)))
    make_folder(folder)
    study = RunsStudy(storage or storage_url(folder), folder)
    study.add(plan)
    write_about(folder, About(*read_header(file), command, plan.binding))
    keys = {run.config.key() for run in plan.runs}
    done = {key: row for key, row in study.rows().items() if key in keys}
    missing = len(keys) - len(done)
    say(f"{counts(plan)}; {len(done)} done, {missing} to train on {device_name()}")
    manner.say_what_is_missing(folder, done.values())

    def write(_: Event | None = None) -> int:
        export(folder, plan.runs, study, Path(file).stem)
        return 0

    try:
        if missing:
            carry_out(experiment, study, folder, missing, manner, write)
    finally:
        write()
    if keys.intersection(study.rows()):
        show(publish(folder, command), folder)
    raise_failures(study, keys)
    return 0
