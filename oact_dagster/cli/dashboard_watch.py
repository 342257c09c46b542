"""The dashboard, refreshed until Ctrl+C."""

import sys
import time
from collections.abc import Callable

import click

from oact_dagster.text import printable

_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def watch_until_stopped(page: Callable[[], str], every_s: float) -> None:
    """Show a page every ``every_s`` seconds until Ctrl+C: in place on a terminal, one after another in a pipe."""
    in_place = sys.stdout.isatty()
    try:
        while True:
            text = printable(page(), sys.stdout.encoding)
            if in_place:
                # Written at once, so that the screen never looks empty.
                stamp = time.strftime("%H:%M:%S")
                sys.stdout.write(f"{_CLEAR}{text}\n\n{stamp}, again in {every_s:g} s; Ctrl+C ends this\n")
                sys.stdout.flush()
            else:
                click.echo(f"{text}\n")
            time.sleep(every_s)
    except KeyboardInterrupt:
        if in_place:
            click.echo()
