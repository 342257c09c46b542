"""User errors as one line on stderr, ``oact: …``, without a traceback."""

from typing import Any, Final

import click

from oact_dagster.errors import OactError

EXIT_REFUSED: Final = 2
"""Exit code when nothing was run: something in the settings, the CSV, the engine or a folder must be corrected
first."""

EXIT_INTERRUPTED: Final = 130


class RefusedError(OactError):
    """Nothing was run; the text has one line for each thing to correct."""


class OneLineErrors(click.Group):
    """A command that shows errors of its subcommands in one line if the user can correct them."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("oact: interrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except Exception as error:
            told = told_of(error)
            if told is None:
                raise
            for line in told.splitlines():
                click.echo(f"oact: {line}", err=True)
            ctx.exit(EXIT_REFUSED)


def warn(text: str) -> None:
    """Show a warning on stderr, in one line."""
    click.echo(f"oact: warning: {' '.join(text.split())}", err=True)


def told_of(error: Exception) -> str | None:
    """The message for an error, one line for each thing to correct; None for a bug of the program."""
    if isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return " ".join(str(error).split()) if isinstance(error, OactError) else None
