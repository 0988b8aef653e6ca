"""What a comparison comes to, in two sentences: what is better or worse, and what cannot be told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from eca_ablate.report.compare import PAPER_GAP
from eca_ablate.report.comparison_table import Compared
from eca_ablate.report.paired import LEAST, SAME

_MOST = 4  # labels named one by one

Line = dict[Any, Any]


def verdict(compared: Compared | None) -> list[str]:
    """Return two sentences computed from the comparison; one, if there is nothing to compare.

    Args:
        compared: what `compare_table` returned.
    """
    if compared is None:
        return ["There is only one row so far, and nothing to compare it with."]
    lines: list[Line] = compared.table[compared.table["verdict"] != SAME].to_dict("records")
    if not lines:
        return ["All rows are the same network, so there is nothing to compare."]
    tested = [line for line in lines if not math.isnan(line["p"])]
    alone = [line for line in lines if line["n"] < LEAST]
    if not tested:
        most = max((int(line["n"]) for line in alone), default=0)
        return [
            f"How the other rows compare with {compared.baseline} cannot be told.",
            f"A test needs {LEAST} seeds that both have, and there {'is' if most == 1 else 'are'} {most or 'none'}.",
        ]
    better, worse = ([line for line in tested if line["verdict"] == word] for word in ("better", "worse"))
    open_ = [line for line in tested if line not in better and line not in worse]
    return [_told(better, worse, compared.baseline, tested), _not_told(open_, alone, len(open_) == len(tested))]


def _told(better: Sequence[Line], worse: Sequence[Line], baseline: str, tested: Sequence[Line]) -> str:
    where = f"On the test set, over {_seeds(tested)}"
    if not better and not worse:
        which = "no row can" if len(tested) > 1 else f"{tested[0]['label']} cannot"
        return f"{where}, {which} be told apart from {baseline}."
    parts = [
        f"{_names(found, gaps=True)} {'is' if len(found) == 1 else 'are'} {word} than {baseline}"
        for found, word in ((better, "better"), (worse, "worse"))
        if found
    ]
    return f"{where}, {', and '.join(parts)}."


def _not_told(open_: Sequence[Line], alone: Sequence[Line], nothing_told: bool) -> str:
    if not open_:
        rest = f", but {_names(alone)} {_has(alone)} too few common seeds to be tested" if alone else ""
        return f"No tested row is left undecided{rest}."
    reach = max(abs(line[end]) for line in open_ for end in ("low", "high"))
    subject = "That does not make them equal" if nothing_told else f"{_names(open_)} cannot be told apart from it"
    if nothing_told and len(open_) == 1:
        subject = "That does not make the two equal"
    said = f"{subject}: {'the interval allows' if len(open_) == 1 else 'the intervals allow'} differences of up to "
    said += f"{reach:.2g} points"
    needed = sorted(int(line["needed"]) for line in open_ if not pd.isna(line["needed"]))
    if needed:
        span = f"{needed[0]:,}" if needed[0] == needed[-1] else f"{needed[0]:,} to {needed[-1]:,}"
        said += f", and a difference of {PAPER_GAP} points, the paper's between SE and ECA, would take {span} seeds"
    if alone:
        said += f"; {_names(alone)} {_has(alone)} too few common seeds to be tested"
    return f"{said}."


def _seeds(lines: Sequence[Line]) -> str:
    counts = sorted({int(line["n"]) for line in lines})
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def _names(lines: Sequence[Line], gaps: bool = False) -> str:
    names = [str(line["label"]) for line in lines]
    if gaps:
        names = [f"{name} ({_signed(line['difference'])})" for name, line in zip(names, lines, strict=True)]
    if len(names) > _MOST:
        names = [*names[: _MOST - 1], f"{len(names) - _MOST + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _has(lines: Sequence[Line]) -> str:
    return "has" if len(lines) == 1 else "have"


def _signed(points: float) -> str:
    return f"{points:+.2f} points".replace("-", "−")
