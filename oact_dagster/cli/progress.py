"""Progress of a batch: a bar in a terminal, an occasional line everywhere else."""

import sys
import time
from typing import TYPE_CHECKING, Final, Self

from oact_dagster.attempts.events import Event, Note
from oact_dagster.cli.tally import Tally

if TYPE_CHECKING:
    from rich.console import Console

LINE_EVERY_S: Final = 10.0


class BatchProgress:
    """A context that counts the events of a batch and shows them."""

    def __init__(self) -> None:
        self.tally = Tally()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Show the last state."""

    def watch(self, event: Event) -> None:
        """Count an event, and show the new state."""
        self.tally.add(event)


def make_progress() -> BatchProgress:
    """A bar if stdout is a terminal that can show one, else plain lines."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, markup=False)
    return Bar(console) if console.is_terminal and not console.is_dumb_terminal else Lines()


class Lines(BatchProgress):
    """Plain lines, at most one every ``every_s`` seconds besides the first, the last, and notes."""

    def __init__(self, every_s: float = LINE_EVERY_S) -> None:
        super().__init__()
        self._every_s = every_s
        self._last = 0.0
        self._shown = ""

    def __exit__(self, *_: object) -> None:
        if self.tally.began:
            self._show()

    def watch(self, event: Event) -> None:
        """Print a line if one is due."""
        super().watch(event)
        if isinstance(event, Note):
            print(event.text, flush=True)
        if self.tally.began and time.monotonic() - self._last >= self._every_s:
            self._show()

    def _show(self) -> None:
        self._last = time.monotonic()
        text = f"{self.tally.done}/{self.tally.asked} done: {self.tally.text()}"
        if text != self._shown:
            print(text, flush=True)
            self._shown = text


class Bar(BatchProgress):
    """A bar with the counts behind it."""

    def __init__(self, console: "Console") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        super().__init__()
        self._bar = RichProgress(
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task("", total=None, counts="starting")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def watch(self, event: Event) -> None:
        """Move the bar."""
        super().watch(event)
        if isinstance(event, Note):
            self._bar.console.print(event.text)
        self._bar.update(
            self._task, total=self.tally.asked or None, completed=self.tally.done, counts=self.tally.text()
        )
