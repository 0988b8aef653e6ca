"""The figures of a results folder: each is drawn where its input exists, and says in a caption what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from eca_ablate.report.curves import load_curves
from eca_ablate.report.gates import load_gates

FOLDER = "figures"


class Picture(NamedTuple):
    """One figure that was written.

    Args:
        name: of its files, `figures/<name>.svg` and `figures/<name>.png`.
        title: a few words.
        caption: how to read it, in plain text.
    """

    name: str
    title: str
    caption: str


def write_pictures(folder: str | Path, rows: pd.DataFrame, baseline: str | None = None) -> list[Picture]:
    """Write the figures that a results folder has the input for, each as SVG and PNG.

    Args:
        folder: of the results.
        rows: as `load` returns them.
        baseline: what differences are to, a label or head; by default `none`, or else the first row.

    Returns:
        What was written, in the order in which a report shows it.
    """
    if rows.empty:
        return []
    from eca_ablate.report.accuracy_pictures import write_accuracy  # only here: it takes matplotlib

    folder = Path(folder)
    return [*write_accuracy(folder, rows, baseline), *_learning_curves(folder), *_heads(folder)]


def _learning_curves(folder: Path) -> list[Picture]:
    from eca_ablate.report import drawings

    curves, written = load_curves(folder), []
    for name, title, metric, caption in (
        ("learning_curves", "Learning curves", "val_top1", f"Validation accuracy after each epoch: {_BANDS}{_CUT}"),
        ("training_loss", "Training loss", "train_loss", f"Mean training loss of each epoch: {_BANDS}"),
    ):
        if curves[metric].notna().any():
            drawings.learning_curves(curves, metric).save(folder / FOLDER / name)
            written.append(Picture(name, title, caption))
    return written


def _heads(folder: Path) -> list[Picture]:
    from eca_ablate.report import drawings

    found, written = load_gates(folder), []
    if found:
        drawings.gates(found).save(folder / FOLDER / "gates")
        written.append(Picture("gates", "Gates by channel and class", _GATES))
    if any(one.matrices for one in found):
        drawings.matrices(found).save(folder / FOLDER / "matrices")
        written.append(Picture("matrices", "What the linear heads have learned", _MATRICES))
    return written


_GATES = (
    "Mean gate of every channel in the last blocks, over the test images of a class (thin) and over all images "
    "(thick); one seed. Where the thin lines lie upon each other, the head treats these classes alike."
)
_MATRICES = (
    "The matrix W of each head whose logits are W y, in the last block of each stage: row i is what the gate of "
    "channel i is made of. Zero is nearly white, and each head has a scale of its own. The first seed; of more than 64 "
    "channels the first 64. SE has no such matrix."
)
_BANDS = (
    "the line is the mean over the seeds, the band reaches from the lowest seed to the highest, dashed is the network "
    "without a head. A run that diverged counts up to where it did."
)
_CUT = " The axis begins at the lowest seed after a third of the epochs."
