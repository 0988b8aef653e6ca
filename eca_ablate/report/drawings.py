"""Figures for one's own analysis, from rows or a results folder: a notebook shows them, `save` writes them.

```python
rows = load("results/quickstart")
differences(rows, baseline="se")
```
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from eca_ablate.errors import UserError, one_of
from eca_ablate.report import curve_figures, forest, gate_figures, tradeoffs
from eca_ablate.report.comparison_table import Compared, compare_table
from eca_ablate.report.curves import CURVE_COLUMNS
from eca_ablate.report.figures import search_drawings
from eca_ablate.report.gates import Gates
from eca_ablate.report.points import POINTS_FILE
from eca_ablate.report.search_table import read_search
from eca_ablate.report.style import COLUMN, Drawing


def differences(rows: pd.DataFrame, baseline: str | None = None) -> Drawing:
    """Return the forest plot of paired differences with their intervals.

    Args:
        rows: as `load` returns them.
        baseline: what the differences are to, a label or head; by default `none`, or else the first row.

    Raises:
        UserError: if there is no such baseline, or no other row.
    """
    compared = compare_table(rows, baseline)
    if compared is None:
        raise UserError("a difference needs two rows, but there is only one")
    return of_comparison(rows, compared)


def of_comparison(rows: pd.DataFrame, compared: Compared) -> Drawing:
    """Return the forest plot of a comparison that is made already."""
    heads = dict(zip(rows["label"], rows["head"], strict=True))
    draw = partial(forest.draw_differences, compared=compared.table, heads=heads, baseline=compared.baseline)
    return Drawing(draw, forest.width(compared.table), forest.height(compared.table))


def accuracy_weights(rows: pd.DataFrame) -> Drawing:
    """Return test accuracy over the weights of the heads.

    Raises:
        UserError: if no finished run says its weights.
    """
    found = tradeoffs.spots(rows)
    if all(one.head_weights is None for one in found):
        raise UserError("no finished run has `head_weights` and `weights`")
    return Drawing(partial(tradeoffs.draw_accuracy_weights, found=found), COLUMN, tradeoffs.height(found))


def accuracy_speed(rows: pd.DataFrame) -> Drawing:
    """Return test accuracy over the measured speed of training.

    Raises:
        UserError: if no speed is known, or the runs are of several kinds of hardware, whose speeds do not compare.
    """
    found = tradeoffs.spots(rows)
    if all(math.isnan(one.speed) for one in found):
        raise UserError("no finished run has `images_per_second`")
    if not tradeoffs.one_machine(rows):
        raise UserError("speeds compare on one kind of hardware, but these runs are of several; take those of one")
    return Drawing(partial(tradeoffs.draw_accuracy_speed, found=found), COLUMN, tradeoffs.height(found))


def of_search(folder: str | Path) -> dict[str, Drawing]:
    """Return the figures of a search by their names: `kernel_size`, `gamma_b` and `history`, whichever apply.

    Raises:
        UserError: if the folder has no search, or its files cannot be used.
    """
    searched = read_search(folder)
    if searched is None:
        raise UserError(f"{folder} needs a {POINTS_FILE}, which `eca-ablate run` of a search writes")
    return search_drawings(searched.points, searched.networks, searched.facts)


_CURVES = {
    "train_loss": "training loss (nats)",
    "val_loss": "validation loss (nats)",
    "val_top1": "validation top-1 (%)",
    "val_top5": "validation top-5 (%)",
}


def learning_curves(curves: pd.DataFrame, metric: str = "val_top1") -> Drawing:
    """Return a metric over the epochs, one small picture a head.

    Args:
        curves: as `load_curves` returns them.
        metric: one of its columns; a loss has a logarithmic axis.

    Raises:
        UserError: if there is no such metric, or no value of it.
    """
    if metric not in _CURVES:
        raise UserError(one_of("metric of the curves", metric, [name for name in CURVE_COLUMNS if name in _CURVES]))
    if not curves[metric].notna().any():
        raise UserError(f"the curves have no value of `{metric}`")
    loss = metric.endswith("loss")
    draw = partial(curve_figures.draw_curves, curves=curves, metric=metric, axis=_CURVES[metric], logarithmic=loss)
    return Drawing(draw, *curve_figures.curve_size(curves))


def gates(found: Sequence[Gates]) -> Drawing:
    """Return the mean gate of each channel by class in the last blocks, SE and ECA side by side where they are.

    Args:
        found: as `load_gates` returns them.

    Raises:
        UserError: if there are none.
    """
    if not found:
        raise UserError("there are no gates; `eca-ablate gates DIR` measures them from kept weights")
    pair = gate_figures.two_heads(found)
    return Drawing(partial(gate_figures.draw_gates, heads=pair), *gate_figures.gate_size(pair))


def matrices(found: Sequence[Gates]) -> Drawing:
    """Return the matrices of the linear heads as images.

    Args:
        found: as `load_gates` returns them.

    Raises:
        UserError: if no head among them has a matrix.
    """
    linear = gate_figures.linear_heads(found)
    if not linear:
        raise UserError("none of these heads has a matrix: their logits are no linear function of the squeezed map")
    return Drawing(partial(gate_figures.draw_matrices, heads=linear), *gate_figures.matrix_size(linear))
