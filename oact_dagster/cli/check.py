"""``oact check``."""

import json
from typing import Final

import click

_EXAMPLE: Final = """\
\b
Exit code: 0 when nothing is refused and nothing is in the way, 1 when some structures
would be refused (the others can be run) or something is in the way of all, 2 when the
settings cannot be read.

\b
Example:
  oact check campaign.yaml
  oact check campaign.yaml --json
"""

EXIT_FOUND: Final = 1


@click.command(epilog=_EXAMPLE)
@click.argument("campaign")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.pass_context
def check(ctx: click.Context, campaign: str, as_json: bool) -> None:
    """Check a whole campaign before it runs: every structure, the settings, and what it will need.

    CAMPAIGN is a campaign.yaml or its folder. Every input is made as for a run and thrown away: nothing is written,
    and nothing is run. It tells which structures would be refused and why, what is doubtful, whether ORCA is there and
    the scheduler would take the jobs, and estimates disk space, files and memory.
    """
    from oact_dagster.cli.bar import bar_on_stderr
    from oact_dagster.cli.check_instance import instance_notes, instance_problems
    from oact_dagster.maintenance.check import check_campaign
    from oact_dagster.settings.campaign import load_campaign

    settings = load_campaign(campaign)
    with bar_on_stderr("checking") as progress:
        report = check_campaign(settings, progress)
    report.blocking.extend(instance_problems(settings))
    report.notes.extend(instance_notes(settings))
    if as_json:
        from oact_dagster.cli.check_json import check_json

        click.echo(json.dumps(check_json(settings, report), indent=2))
    else:
        from oact_dagster.cli.check_text import check_lines

        for line in check_lines(settings, report):
            click.echo(line)
    ctx.exit(0 if report.good else EXIT_FOUND)
