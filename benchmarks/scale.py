"""How the time of a suite grows with seeds, heads, workers and the size of images: one of them doubled at a time.

Run:      python benchmarks/scale.py
Writes:   results/benchmarks/scale.csv

Digits, ResNet-20 of width 1, trained by the engine as `eca-ablate run` does. `training_s` is the time after the first
run began; `to_base` its ratio to the first row's.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import record
import timing
from suite import by_the_engine

from eca_ablate.config import BackboneConfig, DataConfig, Experiment, Recipe

HEADS: list[str | dict[str, Any]] = ["none", "eca", "se_var1", "se_var2"]


def cases(quick: bool) -> list[tuple[str, Experiment, int]]:
    """Return what is varied, the experiment and the number of workers; the first one is the base."""
    base = Experiment(
        data=DataConfig("digits", image_size=16),
        backbone=BackboneConfig("resnet20", width=0.25 if quick else 1),
        recipe=Recipe(epochs=1 if quick else 6),
        seeds=1,
        heads=HEADS[:2],
    )
    if quick:
        return [("base", base, 1), ("workers x 2", base, 2)]
    return [
        ("base", base, 1),
        ("seeds x 2", replace(base, seeds=2), 1),
        ("seeds x 4", replace(base, seeds=4), 1),
        ("heads x 2", replace(base, heads=HEADS), 1),
        ("seeds x 4, workers x 2", replace(base, seeds=4), 2),
        ("image side x 2", replace(base, data=DataConfig("digits", image_size=32)), 1),
        ("epochs x 2", replace(base, recipe=replace(base.recipe, epochs=12)), 1),
    ]


def main() -> None:
    """Measure every case, and write the rows."""
    given = record.options(__doc__.partition("\n")[0] if __doc__ else "").parse_args()
    rows: list[dict[str, Any]] = []
    for name, question, workers in cases(given.quick):
        with tempfile.TemporaryDirectory() as place:
            began = time.perf_counter()
            start, total = by_the_engine(question, Path(place) / "suite", workers)
            command = time.perf_counter() - began
        row: dict[str, Any] = {
            "varied": name,
            "heads": len(question.head_specs()),
            "seeds": len(question.seed_list()),
            "workers": workers,
            "image_size": question.data.image_size,
            "epochs": question.recipe.epochs,
            "start_s": round(start, 2),
            "training_s": round(total - start, 2),
            "with_planning_s": round(command, 2),
        }
        row["to_base"] = round(row["training_s"] / (rows[0] if rows else row)["training_s"], 3)
        rows.append(row)
        record.write(given.out / "scale.csv", [{**row, **record.conditions(1)} for row in rows])
    print(timing.table(rows, ("varied", "start_s", "training_s", "to_base")))


if __name__ == "__main__":
    main()
