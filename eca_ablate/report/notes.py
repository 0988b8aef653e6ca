"""What stands below a table: how to read it, and where its rows come from. Plain text, one note an item."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from eca_ablate.report.paper import printed

SAME = "†"
_VERSIONS = ("python", "torch", "torchvision", "lightning", "torchmetrics", "optuna", "eca_ablate")


def reading_notes(summary: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    """Return what a reader must know before comparing two rows."""
    notes = ["Top-1 and top-5 are on the test set, after the last epoch."]
    same = summary[summary["same_as"] != ""]
    if len(same):
        pairs = ", ".join(f"{a} = {b}" for a, b in zip(same["label"], same["same_as"], strict=True))
        notes.append(
            f"{SAME} same network: {pairs}. Resolved to the same head in every block (for ECA, the same k); "
            "the runs are shared and it is no comparison."
        )
    if (summary["n"] > 1).any():
        notes.append("± is the sample standard deviation over the seeds, no confidence interval.")
    if (summary["n"] == 1).any():
        one = summary.loc[summary["n"] == 1, "label"]
        notes.append(f"One run only, so no spread is known: {', '.join(one)}.")
    notes += _incomplete(rows)
    notes += _diverged(rows)
    notes += _paper(rows)
    return notes


def provenance(rows: pd.DataFrame, command: str = "") -> list[str]:
    """Return data, network, recipe, seeds, hardware, versions and code; several of a kind are all listed."""
    runs = rows[~rows["shared"]]
    count = f"{len(runs)} run{'s' if len(runs) != 1 else ''}"
    facts = {
        "Experiment": _each(runs, ("experiment",), lambda experiment: experiment),
        "Data": _each(runs, ("data", "data_n_train", "data_n_validation", "data_n_test", "image_size"), _data),
        "Backbone": _each(runs, ("backbone", "stem", "width"), _backbone),
        "Recipe": _each(runs, ("epochs", "recipe"), _recipe),
        "Seeds": f"{', '.join(str(seed) for seed in sorted(set(runs['seed'])))} ({count} in all)",
        "Hardware": _each(runs, ("device", "precision", "threads"), _hardware),
        "Versions": _each(runs, _VERSIONS, _versions),
        "Code": _each(runs, ("code_version", "semantics"), _code),
        "Command": command,
    }
    return [f"{name}: {text}" for name, text in facts.items() if text]


def missing_seeds(rows: pd.DataFrame) -> dict[str, list[int]]:
    """Return, for each label, the seeds that other labels have and it has not."""
    every = set(rows["seed"])
    lacking = {str(label): every - set(group["seed"]) for label, group in rows.groupby("label", sort=False)}
    return {label: sorted(seeds) for label, seeds in lacking.items() if seeds}


def _incomplete(rows: pd.DataFrame) -> list[str]:
    lacking = [
        f"{label} lacks seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
        for label, seeds in missing_seeds(rows).items()
    ]
    return [f"Incomplete: {'; '.join(lacking)}. Differences are over common seeds only."] if lacking else []


def _diverged(rows: pd.DataFrame) -> list[str]:
    said = []
    for label, group in rows.groupby("label", sort=False):
        lost = sorted(group.loc[group["status"] == "diverged", "seed"])
        if lost:
            seeds = f"seed{'s' if len(lost) > 1 else ''} {', '.join(map(str, lost))}"
            said.append(f"{label} {len(lost)} of {len(group)} ({seeds})")
    return [f"Diverged, and left out of n and of the means: {'; '.join(said)}."] if said else []


def _paper(rows: pd.DataFrame) -> list[str]:
    firsts = rows.drop_duplicates("label")
    pairs = zip(firsts["head"], firsts["options"], strict=True)
    found = [theirs for head, options in pairs if (theirs := printed(head, options))]
    if not found:
        return []
    notes = [
        "Paper: ResNet-50 on ImageNet, single runs without a spread; Table 2, adaptive k (γ = 2, b = 1) from "
        "Table 3. Another network on other data: the order may be compared, the numbers may not. Its gaps can be "
        "small: SE-GC1 to SE-GC3 lie within 0.03 points, SE-Var3 and ECA within 0.01.",
        'The paper counts weights in units of 2^20 (its "24.37M" for ResNet-50 is 25,557,032); ours are plain counts.',
    ]
    return notes + [f"{note}." for note in dict.fromkeys(theirs.note for theirs in found) if note]


def _each(runs: pd.DataFrame, names: Iterable[str], describe: Any) -> str:
    """Describe every distinct combination of these columns, with its number of runs if there are several."""
    combinations: dict[str, int] = {}
    for values in zip(*(runs[name] for name in names), strict=True):
        text = describe(*(None if pd.isna(value) or value == "" else value for value in values)) or "unknown"
        combinations[text] = combinations.get(text, 0) + 1
    if len(combinations) == 1:
        return next(iter(combinations))
    several = (f"{text} ({count} run{'s' if count != 1 else ''})" for text, count in combinations.items())
    return f"{len(combinations)} different ones: " + "; ".join(several)


def _data(name: str | None, train: int | None, validation: int | None, test: int | None, size: int | None) -> str:
    if not name:
        return ""
    parts = [
        f"{number:,} {part}"
        for part, number in (("train", train), ("validation", validation), ("test", test))
        if number is not None
    ]
    pixels = f" at {size}×{size}" if size else ""
    grain = f"; one test image is {100 / test:.2g} points" if test else ""
    return f"{name}{pixels}, {' / '.join(parts)} images{grain}" if parts else f"{name}{pixels}"


def _backbone(name: str | None, stem: str | None, width: float | None) -> str:
    if not name:
        return ""
    return name + (f", {stem} stem" if stem else "") + (f", width {width:g}" if width is not None else "")


def _recipe(epochs: int | None, text: str | None) -> str:
    recipe = json.loads(text or "{}")
    if not isinstance(recipe, dict):
        recipe = {}
    parts = [f"{epochs} epochs"] if epochs is not None else []
    for name, words in (
        ("batch_size", "SGD, batch {}"),
        ("lr", "learning rate {}"),
        ("schedule", "{}"),
        ("warmup_epochs", "warm-up {} epochs"),
        ("momentum", "momentum {}"),
        ("weight_decay", "weight decay {}"),
        ("label_smoothing", "label smoothing {}"),
        ("augment", "augmentation {}"),
    ):
        value = recipe.get(name)
        if value in (None, "") or (value == 0 and name in ("warmup_epochs", "label_smoothing")):
            continue
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        nesterov = " (Nesterov)" if name == "momentum" and recipe.get("nesterov") else ""
        parts.append(words.format(shown) + nesterov)
    if recipe.get("flip") is not None:
        parts.append("mirrored" if recipe["flip"] else "not mirrored")
    return ", ".join(parts)


def _hardware(device: str | None, precision: str | None, threads: int | None) -> str:
    count = f"{threads} thread{'s' if threads != 1 else ''} a run" if threads is not None else None
    return ", ".join(part for part in (device, precision, count) if part)


def _versions(*versions: str | None) -> str:
    named = zip(_VERSIONS, versions, strict=True)
    return ", ".join(f"{name} {version}" for name, version in named if version)


def _code(commit: str | None, semantics: int | None) -> str:
    parts = (commit, f"semantics {semantics}" if semantics is not None else None)
    return ", ".join(part for part in parts if part)
