"""Who runs the runs: an engine starts workers and passes on what they report until the study has nothing to do."""

from __future__ import annotations

from eca_ablate.engine.job import TICK, Event, Job, trial_event
from eca_ablate.engine.local import run_local
from eca_ablate.engine.on_ray import run_ray

__all__ = ["ENGINES", "TICK", "Event", "Job", "run_local", "run_ray", "trial_event"]

ENGINES = ("local", "ray")
