"""Does bf16 cost accuracy? Paired runs in bf16 and fp32 on CIFAR-10, and a test of equivalence.

Run:      python benchmarks/precision.py
Cost:     see docs/performance.md
Claim:    the mean difference in test top-1 lies within the margin below (two one-sided t-tests, 5 %).

Margin and number of seeds were written down before the first run. 0.5 points is less than what the paper has between
SE and ECA (0.72). Both precisions of a seed have the same initial weights, order and augmentations. It goes on where it
was stopped.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import images
import record
from scipy.stats import t, ttest_1samp

from eca_ablate.config import BackboneConfig, DataConfig, Experiment, Recipe
from eca_ablate.plan import make_plan
from eca_ablate.run import run

MARGIN = 0.5  # percentage points of test top-1
SEEDS = 16
LEVEL = 0.05
PRECISIONS = ("fp32", "bf16")
KEPT = ("status", "test_top1", "test_loss", "val_top1", "train_loss", "seconds", "images_per_second")


def experiment(quick: bool) -> tuple[str, Experiment]:
    """Return a title of the images and the experiment, whose precision is still open."""
    found = None if quick else images.cifar10(fraction=0.1)
    title, data = found or ("digits", DataConfig("digits"))
    backbone = BackboneConfig("resnet20", width=0.25 if quick else 0.5)
    return title, Experiment(
        data=data, backbone=backbone, recipe=Recipe(epochs=1 if quick else 8), heads=[{"name": "eca", "kernel_size": 3}]
    )


def train(question: Experiment, title: str, seeds: int, path: Path) -> list[dict[str, Any]]:
    """Train what is missing, and return one row a run."""
    rows: list[dict[str, Any]] = [*record.read(path)]
    for seed in range(seeds):
        for precision in PRECISIONS:
            recipe = replace(question.recipe, precision=precision)
            plan = make_plan(replace(question, recipe=recipe, seeds=[seed]))
            (planned,) = plan.runs
            if planned.config.key() in {row["key"] for row in rows}:
                continue
            done = run(planned.config)
            facts = {"key": done["key"], "images": title, "seed": seed, "precision": precision}
            setting = {
                "backbone": f"{question.backbone.name}, width {question.backbone.width:g}, ECA (k=3)",
                "n_train": done["data_n_train"],
                "n_test": done["data_n_test"],
                "recipe": json.dumps(done["recipe"]),
            }
            rows.append(
                {**facts, **{name: done[name] for name in KEPT}, **setting, **record.conditions(done["threads"])}
            )
            record.write(path, rows)
    return rows


def compare(rows: list[dict[str, Any]], seeds: int) -> dict[str, Any]:
    """Test the paired differences bf16 - fp32 for equivalence within the margin."""
    top1 = {(int(row["seed"]), row["precision"]): float(row["test_top1"]) for row in rows}
    pairs = [seed for seed in range(seeds) if all((seed, precision) in top1 for precision in PRECISIONS)]
    differences = [top1[seed, "bf16"] - top1[seed, "fp32"] for seed in pairs]
    mean, spread, n = statistics.mean(differences), statistics.stdev(differences), len(differences)
    above = ttest_1samp(differences, -MARGIN, alternative="greater").pvalue
    below = ttest_1samp(differences, MARGIN, alternative="less").pvalue
    half = t.ppf(1 - LEVEL, n - 1) * spread / n**0.5
    p = float(max(above, below))
    last = rows[-1]
    return {
        "images": last["images"],
        "backbone": last["backbone"],
        "metric": "test_top1, percentage points, bf16 - fp32",
        "n": n,
        "mean": round(mean, 4),
        "sd": round(spread, 4),
        "low_90": round(mean - half, 4),
        "high_90": round(mean + half, 4),
        "margin": MARGIN,
        "p_equivalence": float(f"{p:.4g}"),
        "verdict": "equivalent" if p < LEVEL else "not shown",
        **{
            f"{precision}_mean": round(statistics.mean(top1[seed, precision] for seed in pairs), 4)
            for precision in PRECISIONS
        },
        **{name: last[name] for name in record.conditions(1)},
    }


def main() -> None:
    """Train, compare, write."""
    parser = record.options(__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, metavar="N", help=f"pairs (default: {SEEDS})")
    given = parser.parse_args()
    seeds = given.seeds or (2 if given.quick else SEEDS)
    title, question = experiment(given.quick)
    rows = train(question, title, seeds, given.out / "precision_runs.csv")
    result = compare(rows, seeds)
    record.write(given.out / "precision.csv", [result])
    print(
        f"bf16 - fp32 on {title}: {result['mean']:+.2f} ± {result['sd']:.2f} points (n={result['n']}), 90 % interval "
        f"{result['low_90']:+.2f} to {result['high_90']:+.2f}; within ±{MARGIN}: {result['verdict']} "
        f"(p = {result['p_equivalence']:.3g})"
    )


if __name__ == "__main__":
    main()
