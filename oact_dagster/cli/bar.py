"""A progress bar for work of a known size."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar_on_stderr(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a progress bar behind a label on stderr and remove it at the end; stdout holds the report alone.

    Yields a callback that takes the work done and the total work; None if stderr is no terminal.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn(label),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, in_all: bar.update(task, completed=done, total=in_all)
