"""Who runs the runs: an engine starts workers and passes on what they report until the study has nothing to do."""

from __future__ import annotations

from eca_ablate.engine.job import Event, Job, trial_event
from eca_ablate.engine.local import run_local

__all__ = ["ENGINES", "Event", "Job", "trial_event"]

ENGINES = {"local": run_local}
