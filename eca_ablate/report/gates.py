"""`gates/<key>.npz`: mean gates by class and the heads' matrices, read without torch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eca_ablate.report.rows import RowsWarning, load

GATES_FOLDER = "gates"

Floats = NDArray[np.float32]


class Gates(NamedTuple):
    """What the heads of one trained network do.

    Args:
        key: of the run.
        label: of its row.
        head: name of its head.
        seed: of the run.
        images: int64 `[class]`, test images that the means are over.
        gates: by block, float32 `[class, channel]`, within [0, 1]; NaN for a class without images.
        matrices: by block, float32 `[channel, channel]`; none where the logits are not linear (SE).
    """

    key: str
    label: str
    head: str
    seed: int
    images: NDArray[np.int64]
    gates: dict[str, Floats]
    matrices: dict[str, Floats]


def load_gates(folder: str | Path) -> list[Gates]:
    """Return what `eca-ablate gates` measured, in the order of the rows, each run once under its own label.

    Warns:
        RowsWarning: for each file that cannot be used; it is left out.

    Raises:
        UserError: if the rows cannot be used.
    """
    found = []
    rows = load(folder)
    for row in rows[~rows["shared"]].to_dict("records"):
        path = Path(folder) / GATES_FOLDER / f"{row['key']}.npz"
        if not path.exists():
            continue
        try:
            images, gates, matrices = _read(path)
        except Exception as error:  # a damaged archive has a dozen ways to fail
            warnings.warn(f"{path}: {error or type(error).__name__}; the file is left out", RowsWarning, stacklevel=2)
            continue
        found.append(Gates(row["key"], row["label"], row["head"], int(row["seed"]), images, gates, matrices))
    return found


def _read(path: Path) -> tuple[NDArray[np.int64], dict[str, Floats], dict[str, Floats]]:
    with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
        arrays: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
    images = arrays["images"]
    if images.dtype != np.int64 or images.ndim != 1:
        raise ValueError(f"`images` must be int64 [class], but got {images.dtype} {list(images.shape)}")
    gates: dict[str, Floats] = {}
    matrices: dict[str, Floats] = {}
    for i, block in enumerate(map(str, arrays["blocks"])):
        gate, matrix = arrays[f"gate_{i}"], arrays.get(f"matrix_{i}")
        if gate.dtype != np.float32 or gate.shape[:1] != images.shape or gate.ndim != 2:
            raise ValueError(f"`gate_{i}` must be float32 [{len(images)}, channel], but got {list(gate.shape)}")
        if not np.all((gate >= 0) & (gate <= 1) | np.isnan(gate)):
            raise ValueError(f"`gate_{i}` must be within 0 and 1")
        gates[block] = gate
        if matrix is not None:
            side = gate.shape[1]
            if matrix.dtype != np.float16 or matrix.shape != (side, side) or not np.all(np.isfinite(matrix)):
                raise ValueError(f"`matrix_{i}` must be finite float16 [{side}, {side}], but got {list(matrix.shape)}")
            matrices[block] = matrix.astype(np.float32)
    return images, gates, matrices
