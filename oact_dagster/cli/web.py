"""``oact web``."""

from pathlib import Path
from typing import Final

import click

_EXAMPLE: Final = """\
\b
Example:
  oact web oact-demo
  oact web oact-demo --port 3001 --read-only
"""


@click.command(epilog=_EXAMPLE)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--read-only", is_flag=True, help="Only show: nobody can start or end runs, and no daemon runs."
)
@click.pass_context
def web(ctx: click.Context, folder: Path, port: int, host: str, read_only: bool) -> None:
    """Open a campaign in Dagster's web page.

    Also runs the daemon, which sensors and queued runs need. FOLDER is the campaign's folder (or its campaign.yaml);
    docs/web-page.md has the commands for several campaigns in one page. Ctrl+C ends the page and all its processes.
    Restarts the page or the daemon if one of them dies.
    """
    from oact_dagster.cli.environment import export_lines, variables
    from oact_dagster.cli.errors import RefusedError
    from oact_dagster.cli.web_record import record_file
    from oact_dagster.cli.web_server import check_port, end_left_servers, serve
    from oact_dagster.defs.instance import dagster_home, make_instance
    from oact_dagster.settings.campaign import CAMPAIGN_FILE, load_campaign

    if (folder / "workspace.yaml").is_file() and not (folder / CAMPAIGN_FILE).exists():
        raise RefusedError(
            f"{folder}: has a workspace.yaml but no campaign.yaml: `oact web` opens one campaign; for several, run"
            " `dagster instance migrate` once, then `dagster-webserver -w workspace.yaml` and `dagster-daemon run -w"
            " workspace.yaml`, all with the same DAGSTER_HOME"
        )
    settings = load_campaign(folder)
    home = dagster_home(settings)
    record = None if read_only else record_file(home, settings.name)
    if record is not None:
        end_left_servers(record)
    check_port(host, port)
    make_instance(home)
    click.echo(f"campaign {settings.name}: http://{host}:{port}  (Ctrl+C ends it)")
    click.echo("For Dagster's own commands:")
    for line in export_lines(settings):
        click.echo(f"  {line}")
    can = "look at the page" if read_only else "run things in the page as you (--read-only: look only)"
    click.echo(f"All users of this node can {can}. From your own machine:")
    click.echo(f"  ssh -N -L {port}:{host}:{port} user@host")
    ctx.exit(serve(settings.folder, variables(settings), host, port, read_only=read_only, record=record))
