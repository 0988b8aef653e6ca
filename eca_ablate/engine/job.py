"""What a worker is told, and what it tells."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from eca_ablate.checkpoint import EVERY_SECONDS


@dataclass(frozen=True)
class Job:
    """Everything a worker process needs to know; it reaches it over standard input, out of sight of `ps`.

    Args:
        storage: URL of the study.
        folder: of the results.
        data_root: folder of the images on this machine, where the data set has one.
        threads: CPU threads of a run.
        metric: of validation, the value of a run.
        pruner: of runs, by name.
        epochs: of a run.
        keep_weights: of every run, in the folder.
        gate_histograms: for TensorBoard, after every epoch.
        checkpoint_seconds: between two checkpoints of a run.
        keep_checkpoints: whether those of finished runs stay.
    """

    storage: str
    folder: str
    data_root: str | None
    threads: int
    metric: str = "val_top1"
    pruner: str = "none"
    epochs: int = 1
    keep_weights: bool = False
    gate_histograms: bool = False
    checkpoint_seconds: float = EVERY_SECONDS
    keep_checkpoints: bool = False

    def to_json(self) -> str:
        """Return the job as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Job:
        """Return the job of a line."""
        return cls(**json.loads(line))


@dataclass(frozen=True)
class Event:
    """One thing that happened to a run.

    Args:
        kind: `start`, `epoch` (one more is done), `end`, `failed`, `warning`, `died` (the worker that had the run), or
            `tick` (nothing happened for a while).
        key: of the run.
        label: of its head.
        seed: of the run.
        epoch: how many epochs are done.
        note: the accuracy so far, the reason of a failure, or what the user should know.
    """

    kind: str
    key: str
    label: str
    seed: int
    epoch: int = 0
    note: str = ""

    def to_json(self) -> str:
        """Return the event as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Event | None:
        """Return the event in a line, or None if the line is something else."""
        try:
            facts: Any = json.loads(line)
            return cls(**facts)
        except (ValueError, TypeError):
            return None


TICK = Event("tick", "", "", 0)


def trial_event(trial: FrozenTrial) -> Event:
    """Return the event that a trial of the runs study has ended or failed."""
    facts = trial.user_attrs
    kind = "failed" if trial.state == TrialState.FAIL else "end"
    seed, epochs = facts["config"]["seed"], facts["config"]["recipe"]["epochs"]
    return Event(kind, facts["key"], str(facts.get("label", "")), seed, epochs, facts.get("reason", ""))
