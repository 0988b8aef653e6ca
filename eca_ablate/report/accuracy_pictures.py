"""The figures of the compared heads: what accuracy costs in weights and in speed, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from eca_ablate.report import drawings, tradeoffs
from eca_ablate.report.comparison_table import Compared, compare_table
from eca_ablate.report.paired import LEAST, SAME
from eca_ablate.report.pictures import FOLDER, Picture
from eca_ablate.report.style import Drawing
from eca_ablate.report.tradeoffs import Spot


def write_accuracy(folder: Path, rows: pd.DataFrame, baseline: str | None = None) -> list[Picture]:
    """Write the figures that need no more than rows, each where its columns are known.

    Args:
        folder: of the results.
        rows: as `load` returns them.
        baseline: what the differences are to, a label or head; by default `none`, or else the first row.
    """
    written: list[Picture] = []

    def put(name: str, drawing: Drawing, title: str, caption: str) -> None:
        drawing.save(folder / FOLDER / name)
        written.append(Picture(name, title, caption))

    compared = compare_table(rows, baseline)
    if compared is not None and compared.table.loc[compared.table["verdict"] != SAME, "difference"].notna().any():
        title = f"Differences to {compared.baseline}"
        put("differences", drawings.of_comparison(rows, compared), title, _differences(compared))
    found = tradeoffs.spots(rows)
    if any(one.head_weights is not None for one in found):
        caption = f"Test accuracy over the weights of all heads of a network; the axis is logarithmic. {_bars(found)}"
        put("accuracy_weights", drawings.accuracy_weights(rows), "Accuracy against weights", caption)
    if any(math.isfinite(one.speed) for one in found) and tradeoffs.one_machine(rows):
        caption = (
            "Test accuracy over the images that training took in each second, augmentation included, as it went during "
            f"the runs themselves: other work on the machine slows it down. {_bars(found)}"
        )
        put("accuracy_speed", drawings.accuracy_speed(rows), "Accuracy against training speed", caption)
    return written


def _differences(compared: Compared) -> str:
    intervals = compared.table["low"].notna().any()
    if not intervals:
        return f"Test accuracy less that of {compared.baseline}, the mean over common seeds. Too few for intervals."
    return (
        f"Test accuracy less that of {compared.baseline}, paired by seed: the mean, and its interval as corrected for "
        f"the {compared.family} comparisons of the table. An interval that leaves out 0 goes with the verdict better "
        "or worse. An arrow stands for an interval that goes on."
    )


def _bars(found: Sequence[Spot]) -> str:
    if all(math.isnan(one.reach) for one in found):
        return f"Fewer than {LEAST} runs each, so no intervals. Rows that are one network are drawn once."
    return (
        "Bars are each mean's own 95 % interval over the seeds, not corrected for their number: whether two heads "
        "differ is told by their paired differences. Rows that are one network are drawn once."
    )
