"""Hosts on which structures of a campaign are not run any more, until somebody lets them in again."""

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
    """How many structures were lost or crashed on each host when it was left out."""
    let_in: Mapping[str, int] = field(default_factory=dict)
    """Up to which attempt (a number, as in the ledger) what happened on a host says nothing any more."""


BAD_HOSTS: Final = Document("bad_hosts", _Hosts, _Hosts())


def left_out(ledger: LedgerReader) -> dict[str, int]:
    """Hosts that are left out, with the structures that were lost or crashed on each until then."""
    return dict(BAD_HOSTS.read(ledger).out)


def can_leave_out(campaign: Campaign) -> bool:
    """Whether calculations can be kept away from a host."""
    return campaign.launcher.kind_facts.avoids_hosts


def bad_hosts(campaign: Campaign, ledger: Ledger, now: float | None = None) -> dict[str, int]:
    """Hosts that are left out from now on: those that were before, and those on which something went wrong since.

    Args:
        campaign: its settings.
        ledger: of the campaign.
        now: Unix time, s.

    Returns:
        Each with the structures that were lost or crashed on it until it was left out.
    """
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
    """Run structures on a host again; what happened there until now is not counted against it any more.

    Args:
        ledger: of the campaign.
        host: its name, with or without its domain.

    Returns:
        Whether it was left out.
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
        # Of this one, which need not be a node, ledgers of before tell for attempts that never began.
        found.pop(_short(socket.gethostname()), None)
    return found


def _short(host: str) -> str:
    return host.partition(".")[0]
