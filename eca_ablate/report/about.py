"""`experiment.json`: what a results folder is about, and what its rows do not say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eca_ablate.files import write_atomically
from eca_ablate.report.points import load_json

ABOUT_FILE = "experiment.json"


@dataclass(frozen=True)
class About:
    """The question of an experiment and what its runs share; whatever is not known is empty.

    Args:
        question: as the experiment file asks it.
        expected: what its author expected before there were rows.
        command: that made the results.
        shared: the resolved configuration of every run but for `blocks`, `seed` and what a search varied. With a
            row's `blocks` and `seed` it gives the row's `key`.
    """

    question: str = ""
    expected: str = ""
    command: str = ""
    shared: Mapping[str, Any] = field(default_factory=dict)


def write_about(folder: str | Path, about: About) -> None:
    """Write `experiment.json` into a results folder, which is made if need be."""
    text = json.dumps(asdict(about), indent=2, ensure_ascii=False) + "\n"
    write_atomically(Path(folder) / ABOUT_FILE, text)


def load_about(folder: str | Path) -> About:
    """Return what `experiment.json` says; a value of a wrong type counts as missing, and so does the file.

    Warns:
        RowsWarning: if the file is no JSON object.
    """
    path = Path(folder) / ABOUT_FILE
    if not path.exists():
        return About()
    given = load_json(path, "the report goes without it")
    texts = {name: given[name] for name in ("question", "expected", "command") if isinstance(given.get(name), str)}
    shared = given.get("shared")
    return About(**texts, shared=shared if isinstance(shared, dict) else {})
