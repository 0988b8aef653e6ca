"""One progress display for a whole plan; silent where nobody watches."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from eca_ablate.engine.job import Event


class PlanProgress:
    """Counts epochs over all runs of a plan and estimates the time left; a line below it for every run at work.

    Args:
        runs: still to train.
        epochs: of each.
    """

    def __init__(self, runs: int, epochs: int) -> None:
        self._console = Console(stderr=True)
        self._display = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._epochs = epochs
        self._all = self._display.add_task("all runs", total=runs * epochs, unit="epochs")
        self._running: dict[str, TaskID] = {}
        self._ended = 0
        self._runs = runs

    def __enter__(self) -> PlanProgress:
        self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.stop()

    def expect(self, more: int) -> None:
        """Count more runs than were expected."""
        self._runs += more
        self._display.update(self._all, total=self._runs * self._epochs)

    def show(self, event: Event) -> None:
        """Take note of what a worker reported."""
        name = f"{event.label}, seed {event.seed}"
        if event.kind in ("warning", "died"):
            self._print(f"{name}: {event.note}")
            return
        if event.key not in self._running:
            self._running[event.key] = self._display.add_task(name, total=self._epochs, unit="")
        task = self._running[event.key]
        self._display.update(task, completed=event.epoch, unit=event.note)
        if event.kind in ("end", "failed"):
            self._display.remove_task(self._running.pop(event.key))
            self._ended += 1
        at_work = sum(task.completed for task in self._display.tasks if task.id != self._all)
        self._display.update(self._all, completed=self._ended * self._epochs + at_work)
        if event.kind == "failed":
            self._print(f"{name} failed: {event.note}")

    def _print(self, text: str) -> None:
        self._display.console.print(text, markup=False, highlight=False, soft_wrap=True)
