"""Looking at the dashboard again and again."""

import sys
import time
from collections.abc import Callable

import click

from oact_dagster.cli.shown_text import printable

_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def watch_until_stopped(page: Callable[[], str], every_s: float) -> None:
    """Show a page again and again, until Ctrl+C; on a terminal in place, in a pipe one after the other.

    Args:
        page: gives the page as it is now.
        every_s: seconds in between.
    """
    in_place = sys.stdout.isatty()
    try:
        while True:
            text = printable(page(), sys.stdout.encoding)
            if in_place:
                # In one piece, so that the screen is never seen empty.
                stamp = time.strftime("%H:%M:%S")
                sys.stdout.write(f"{_CLEAR}{text}\n\n{stamp}, again in {every_s:g} s; Ctrl+C ends this\n")
                sys.stdout.flush()
            else:
                click.echo(f"{text}\n")
            time.sleep(every_s)
    except KeyboardInterrupt:
        if in_place:
            click.echo()
