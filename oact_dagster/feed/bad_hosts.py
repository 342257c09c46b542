"""Bad hosts: a campaign runs no structures on them until the user lets them in again."""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from oact_dagster.ledger.documents import Document
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign


@dataclass(frozen=True, slots=True)
class _Hosts:
    out: Mapping[str, int] = field(default_factory=dict)
    """Bad hosts, each with the structures lost or crashed on it when it was left out."""
    let_in: Mapping[str, int] = field(default_factory=dict)
    """Hosts let in again, each with the last attempt in the ledger that does not count against it."""


BAD_HOSTS: Final = Document("bad_hosts", _Hosts, _Hosts())


def left_out(ledger: LedgerReader) -> dict[str, int]:
    """Return the hosts that are left out, with the structures lost or crashed on each until then."""
    return dict(BAD_HOSTS.read(ledger).out)


def can_leave_out(campaign: Campaign) -> bool:
    """Return whether the launcher can keep calculations away from a host."""
    return campaign.launcher.kind_facts.avoids_hosts


def bad_hosts(campaign: Campaign, ledger: Ledger, now: float | None = None) -> dict[str, int]:
    """Leave out hosts that have become bad, and return all hosts left out as :func:`left_out` does."""
    at = time.time() if now is None else now
    hosts = BAD_HOSTS.read(ledger)
    if _found(campaign, ledger, hosts, at).keys() <= hosts.out.keys():
        return dict(hosts.out)

    def add(kept: _Hosts) -> _Hosts:
        nonlocal hosts
        hosts = replace(kept, out={**_found(campaign, ledger, kept, at), **kept.out})
        return hosts

    BAD_HOSTS.change(ledger, add)
    return dict(hosts.out)


def let_in(ledger: Ledger, host: str) -> bool:
    """Run structures on a host again, without counting its earlier failures, and return whether it was left out.

    The name of the host may include its domain.
    """
    name = _short(host)
    was_out = False

    def change(hosts: _Hosts) -> _Hosts:
        nonlocal was_out
        was_out = name in hosts.out
        out = {one: count for one, count in hosts.out.items() if one != name}
        return _Hosts(out, {**hosts.let_in, name: ledger.health.newest_attempt()})

    BAD_HOSTS.change(ledger, change)
    return was_out


def _found(campaign: Campaign, ledger: LedgerReader, hosts: _Hosts, now: float) -> dict[str, int]:
    found = dict(ledger.health.bad_hosts(campaign.feed.bad_host_after, hosts.let_in, now=now))
    if can_leave_out(campaign):
        # Older ledgers name this machine, which need not be a node, for attempts that never began.
        found.pop(_short(socket.gethostname()), None)
    return found


def _short(host: str) -> str:
    return host.partition(".")[0]
