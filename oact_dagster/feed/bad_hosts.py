"""Hosts on which structures of a campaign are not run any more, until somebody lets them in again."""

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign

KEY: Final = "bad_hosts"
"""Of the ledger's ``meta``."""


@dataclass(frozen=True, slots=True)
class _Hosts:
    out: Mapping[str, int] = field(default_factory=dict)
    """How many structures were lost or crashed on each host when it was left out."""
    let_in: Mapping[str, int] = field(default_factory=dict)
    """Up to which attempt (a number, as in the ledger) what happened on a host says nothing any more."""


def left_out(ledger: LedgerReader) -> dict[str, int]:
    """Hosts that are left out, with the structures that were lost or crashed on each until then."""
    return dict(_parsed(ledger.meta(KEY)).out)


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
    hosts = _parsed(ledger.meta(KEY))
    if _found(campaign, ledger, hosts, at).keys() <= hosts.out.keys():
        return dict(hosts.out)

    def add(text: str | None) -> str:
        nonlocal hosts
        hosts = _parsed(text)
        hosts = replace(hosts, out={**_found(campaign, ledger, hosts, at), **hosts.out})
        return json.dumps(asdict(hosts))

    ledger.change_meta(KEY, add)
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

    def change(text: str | None) -> str:
        nonlocal was_out
        hosts = _parsed(text)
        was_out = name in hosts.out
        out = {one: count for one, count in hosts.out.items() if one != name}
        return json.dumps(asdict(_Hosts(out, {**hosts.let_in, name: ledger.health.newest_attempt()})))

    ledger.change_meta(KEY, change)
    return was_out


def _found(campaign: Campaign, ledger: LedgerReader, hosts: _Hosts, now: float) -> dict[str, int]:
    found = dict(ledger.health.bad_hosts(campaign.feed.bad_host_after, hosts.let_in, now=now))
    if can_leave_out(campaign):
        # Of this one, which need not be a node, ledgers of before tell for attempts that never began.
        found.pop(_short(socket.gethostname()), None)
    return found


def _short(host: str) -> str:
    return host.partition(".")[0]


def _parsed(text: str | None) -> _Hosts:
    try:
        kept = json.loads(text or "{}")
        return _Hosts(dict(kept.get("out", {})), dict(kept.get("let_in", {})))
    except (ValueError, TypeError, AttributeError):
        return _Hosts()
