"""`gates`: measure what the heads of kept weights do to the test images."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from rich.progress import track

from eca_ablate.commands.common import plural, say
from eca_ablate.errors import UserError
from eca_ablate.files import write_atomically
from eca_ablate.gates import channel_heads, measure
from eca_ablate.report import GATES_FOLDER
from eca_ablate.trained import FOLDER, load_trained


def write_gates(folder: str, root: str | None) -> int:
    """Write `gates/<key>.npz` for each run with kept weights and channel heads. Returns the exit code.

    Raises:
        UserError: if no weights are kept there, or their images are not at hand.
    """
    kept = sorted((Path(folder) / FOLDER).glob("*.pt"))
    if not kept:
        raise UserError(
            f"{Path(folder) / FOLDER}: at least one run with kept weights is needed, but there is none; "
            "`eca-ablate run FILE --keep-weights` leaves them"
        )
    written, vanilla, curved = 0, 0, set()
    for path in track(kept, "measuring", disable=not sys.stderr.isatty(), transient=True):
        trained = load_trained(path)
        if not channel_heads(trained.net):
            vanilla += 1
            continue
        arrays = measure(trained, root)
        if "matrix_0" not in arrays:
            curved.add(trained.config.blocks[0]["name"])
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        write_atomically(Path(folder) / GATES_FOLDER / f"{path.stem}.npz", content.getvalue())
        written += 1
    say(f"gates of {plural(written, 'run')} are in {Path(folder) / GATES_FOLDER}; `eca-ablate report` draws them")
    if vanilla:
        say(f"{plural(vanilla, 'run')} without channel heads left out")
    for head in sorted(curved):
        say(f"`{head}` has no matrix: its logits are no linear function of the squeezed map")
    return 0
