"""``oact release``."""

import shlex
import time
from typing import TYPE_CHECKING, Final

import click

from oact_dagster.cli.ledger_argument import found_ledger
from oact_dagster.text import pluralise

if TYPE_CHECKING:
    from oact_dagster.ledger.store import Ledger
    from oact_dagster.settings.campaign import Campaign

_EXAMPLE: Final = """\
\b
Example:
  oact release oact-demo --structures 0-9,15
  oact release workflow.db
  oact release campaign.yaml --feed
  oact release campaign.yaml --host node17
"""


@click.command(epilog=_EXAMPLE)
@click.argument("campaign", metavar="CAMPAIGN|DB")
@click.option("--structures", metavar="0-9,15", help="Release only these (default: all held ones).")
@click.option("--feed", is_flag=True, help="Let a paused campaign go on; held structures stay held.")
@click.option("--host", metavar="NAME", multiple=True, help="Stop avoiding this host; repeatable.")
def release(campaign: str, structures: str | None, feed: bool, host: tuple[str, ...]) -> None:
    """Let held structures run again.

    Also lets a paused campaign go on (--feed), or stops avoiding a host (--host). The argument is a campaign.yaml, its
    folder, or a ledger (workflow.db). Structures are held when their run is terminated in the web page, or when their
    job is cancelled by hand, in the queue or while it runs (scancel, flux cancel).
    """
    from oact_dagster.attempts.selection import known_structures, parse_indices
    from oact_dagster.feed.bad_hosts import let_in
    from oact_dagster.feed.state import let_go_on, read_feed_state
    from oact_dagster.ledger.store import Ledger

    path, settings = found_ledger(campaign)
    named = None if structures is None else parse_indices(structures)
    with Ledger(path) as ledger:
        if named is not None:
            known_structures(ledger, named)
        if feed:
            why = let_go_on(ledger)
            click.echo(
                f"the campaign goes on; it was paused: {why}" if why else "the campaign was not paused"
            )
            if why and settings is not None:
                _tell_set_aside(settings, ledger)
        for name in host:
            was_out = let_in(ledger, name)
            click.echo(f"{name} is no longer avoided" if was_out else f"{name} was not avoided")
        if (feed or host) and named is None:
            return
        released = ledger.release(named)
        paused = read_feed_state(ledger).paused
    others = f" of {len(named)} named; the others were not held" if named and released < len(named) else ""
    click.echo(f"{pluralise(released, 'structure')} released{others}")
    if paused:
        go_on = f"oact release {shlex.quote(campaign)} --feed"
        click.echo(f"the campaign is paused and starts nothing: {paused}; `{go_on}` lets it go on")


def _tell_set_aside(campaign: "Campaign", ledger: "Ledger") -> None:
    """Say how to run structures again that were set aside before their cause was corrected."""
    from oact_dagster.feed.decisions import due_of

    due = due_of(campaign, time.time())
    aside = ledger.figures.count_set_aside(
        due.max_failures, due.max_losses
    ) + ledger.queue.count_without_remedy(due)
    if aside:
        folder = shlex.quote(str(campaign.folder))
        click.echo(
            f"{pluralise(aside, 'structure')} set aside; once their cause is fixed, run them again:"
            f" oact run {folder} --structures 0-9,15 --ignore-budget (`oact dashboard {folder}"
            " --show-chronic-failures 1` lists them)"
        )
