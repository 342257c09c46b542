"""The command ``oact``, a thin layer over the rooms of a campaign and ``defs``.

Dagster, pandas, numpy and the like take seconds to import. Each command imports what it needs when it runs, so that
``--help`` answers at once.
"""

from typing import Final

import click

from oact_dagster.cli.check import check
from oact_dagster.cli.clean import clean
from oact_dagster.cli.dashboard import dashboard
from oact_dagster.cli.demo import demo
from oact_dagster.cli.errors import OneLineErrors
from oact_dagster.cli.export import export
from oact_dagster.cli.fsck import fsck
from oact_dagster.cli.ingest import ingest
from oact_dagster.cli.init import init
from oact_dagster.cli.release import release
from oact_dagster.cli.report import report
from oact_dagster.cli.run import run
from oact_dagster.cli.submit import submit
from oact_dagster.cli.web import web

__all__ = ["main"]

# "\b" keeps the lines that follow it as they are.
_EXAMPLES: Final = """\
\b
Example, with a stand-in engine instead of ORCA:
  oact demo
  oact web oact-demo

\b
Example, with your own CSV and your own ORCA:
  oact init complexes.csv --folder campaign --orca /opt/orca/orca
  oact run campaign
"""


@click.group(
    cls=OneLineErrors,
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="oact-dagster", prog_name="oact")
def main() -> None:
    """Run ORCA on a CSV of metal complexes, as Dagster assets with one partition per structure."""


for command in (demo, init, check, run, submit, web, dashboard, report, export, release, ingest, fsck, clean):
    main.add_command(command)
