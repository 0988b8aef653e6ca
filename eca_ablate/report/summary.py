"""Rows to one line a label: counts, means and spreads over the seeds."""

from __future__ import annotations

from typing import Any

import pandas as pd

from eca_ablate.errors import UserError
from eca_ablate.report.columns import METRICS
from eca_ablate.report.paper import printed

_STATED = ("head", "formula", "kernel_sizes", "head_weights", "weights", "macs")
_INTEGERS = ("head_weights", "weights", "macs", "n", "diverged")
SUMMARY = (
    "label",
    *_STATED,
    "n",
    "diverged",
    *(f"{metric}_{what}" for metric in METRICS for what in ("mean", "std")),
    "seconds_mean",
    "same_as",
    "paper_top1",
    "paper_top5",
    "seeds",
)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a label, in the order of the rows that `load` gave.

    `n` counts the runs that are done; means and sample standard deviations (over n - 1) are over those alone, and
    `seeds` lists theirs. `diverged` counts the others. `same_as` names the first label with the very same network.

    Raises:
        UserError: if one label stands for two networks, whose runs must not be averaged.
    """
    first: dict[str, str] = {}
    lines = [_line(str(label), group, first) for label, group in rows.groupby("label", sort=False)]
    table = pd.DataFrame(lines, columns=list(SUMMARY))
    kinds = dict.fromkeys(_INTEGERS, "Int64")
    numbers = [name for name in SUMMARY if name.endswith(("_mean", "_std")) or name.startswith("paper_")]
    return table.astype({**kinds, **dict.fromkeys(numbers, "float64")})


def _line(label: str, group: pd.DataFrame, first: dict[str, str]) -> dict[str, Any]:
    networks = list(dict.fromkeys(group["network"]))
    if len(networks) > 1:
        raise UserError(
            f"a label stands for one network, but {label!r} for {len(networks)} ({', '.join(networks)}); "
            "give them two labels or two folders"
        )
    done = group[group["status"] == "done"]
    line: dict[str, Any] = {"label": label, **{name: group[name].iloc[0] for name in _STATED}}
    line |= {"n": len(done), "diverged": int((group["status"] == "diverged").sum())}
    for metric in METRICS:
        line[f"{metric}_mean"] = done[metric].mean(skipna=False)
        line[f"{metric}_std"] = done[metric].std(ddof=1, skipna=False)
    line["seconds_mean"] = done["seconds"].mean(skipna=False)
    line["same_as"] = first.setdefault(networks[0], label) if networks[0] in first else ""
    first.setdefault(networks[0], label)
    theirs = printed(str(line["head"]), str(group["options"].iloc[0]))
    line["paper_top1"] = theirs.top1 if theirs else float("nan")
    line["paper_top5"] = theirs.top5 if theirs else float("nan")
    line["seeds"] = ", ".join(str(seed) for seed in sorted(done["seed"]))
    return line
