"""``oact check``."""

import json
from typing import Final

import click

_EXAMPLE: Final = """\
\b
Exit code: 0 if nothing is refused and nothing stops the campaign; 1 if some structures
would be refused (the others can be run) or something stops all of them; 2 if the settings
cannot be read.

\b
Example:
  oact check campaign.yaml
  oact check campaign.yaml --json
"""

EXIT_FOUND: Final = 1


@click.command(epilog=_EXAMPLE)
@click.argument("campaign")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(ctx: click.Context, campaign: str, as_json: bool) -> None:
    """Check a whole campaign before it runs.

    CAMPAIGN is a campaign.yaml or its folder. Makes every input as a run would and throws it away; writes and runs
    nothing. Reports which structures would be refused and why, what is doubtful, whether ORCA is there and whether the
    scheduler would take the jobs, and estimates disk space, files and memory.
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
