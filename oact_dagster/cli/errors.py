"""What the user can mend is told in one line on stderr, ``oact: …``, and never with a traceback."""

from typing import Any, Final

import click

EXIT_REFUSED: Final = 2
"""Exit code when nothing was run: the settings, the CSV, the engine or a folder must be mended first."""

EXIT_INTERRUPTED: Final = 130
"""Exit code after Ctrl+C, as shells have it."""


class RefusedError(Exception):
    """Nothing was run; the text is one line for each thing that must be mended."""


class OneLineErrors(click.Group):
    """A command whose subcommands end with one line where the user can mend what is wrong."""

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
    """Tell on stderr, in one line, what the user should know."""
    click.echo(f"oact: warning: {' '.join(text.split())}", err=True)


def told_of(error: Exception) -> str | None:
    """What a user is told of an error, a line for each thing to mend; None for a fault of the program."""
    if isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return " ".join(str(error).split()) if _is_ours(error) else None


# By name: to import them all here would cost `oact --help` its speed.
OURS: Final = frozenset(
    {
        ("oact_dagster.settings.campaign", "CampaignError"),
        ("oact_dagster.defs.storage_faults", "StorageError"),
        ("oact_dagster.ledger.connection", "LedgerError"),
        ("oact_dagster.intake.report", "IntakeRefused"),
        ("oact_dagster.attempts.engine", "EngineError"),
        ("oact_dagster.export.formats", "ExportError"),
        ("oact_dagster.maintenance.existing_ledger", "FromLedgerRefused"),
        ("oact_dagster.attempts.selection", "SelectionError"),
        ("oact_dagster.launchers.protocol", "LauncherError"),
        ("oact_dagster.report.writer", "ReportError"),
    }
)
"""Modules and names of the errors whose text is one line for the user."""


def _is_ours(error: Exception) -> bool:
    return any((kind.__module__, kind.__qualname__) in OURS for kind in type(error).__mro__)
