"""A bar for work that tells what is done and what there is in all."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar_on_stderr(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr where that is a terminal, so that stdout holds the report alone; it is gone at the end.

    Args:
        label: what is done, before the bar.

    Yields:
        What is called with the work done and the work in all; None where there is no terminal.
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
