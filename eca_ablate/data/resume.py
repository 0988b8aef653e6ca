"""Which batch an iteration begins with: the first, unless a checkpoint was written in the middle of that epoch."""

from __future__ import annotations

from collections.abc import Callable


class Resumable:
    """A loader whose place in the epoch is kept in Lightning's checkpoints.

    Args:
        epoch: asked when an iteration begins.
    """

    def __init__(self, epoch: Callable[[], int]) -> None:
        self._epoch = epoch
        self._now = (0, 0)
        self._left_at = (-1, 0)

    def begin(self) -> tuple[int, int]:
        """Return the epoch that begins and its first batch; called once an iteration."""
        epoch, (left_epoch, left_batch) = self._epoch(), self._left_at
        self._left_at = (-1, 0)
        return epoch, left_batch if left_epoch == epoch else 0

    def handed_out(self, epoch: int, batches: int) -> None:
        """Note how many batches of the epoch have been handed out; called before each one is."""
        self._now = (epoch, batches)

    def state_dict(self) -> dict[str, int]:
        """Return the place in the epoch; Lightning puts it into the checkpoint."""
        return {"epoch": self._now[0], "batches": self._now[1]}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next iteration at this place, if it is of the same epoch."""
        self._left_at = (state["epoch"], state["batches"])
