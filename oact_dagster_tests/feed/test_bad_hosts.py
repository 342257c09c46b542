"""Hosts that are left out, on a real ledger."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.feed.bad_hosts import BAD_HOSTS, bad_hosts, left_out, let_in
from oact_dagster.ledger import health
from oact_dagster.ledger.states import Outcome
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign
from oact_dagster.settings.launcher import LauncherSettings
from oact_dagster_tests.intake.intake_samples import campaign_on
from oact_dagster_tests.ledger.samples import claim, run, structure


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "workflow.db", create=True) as ledger:
        ledger.add_structures([structure(n) for n in range(100)])
        yield ledger


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return campaign_on(tmp_path / "a.csv", launcher=LauncherSettings(kind="slurm"))


def on(ledger: Ledger, host: str, structures: range, outcome: Outcome = Outcome.LOST, **more: Any) -> None:
    for index in structures:
        run(ledger, index, outcome, host=host, **more)


def test_different_structures_that_were_lost_or_crashed(campaign: Campaign, ledger: Ledger) -> None:
    on(ledger, "n1", range(2))
    on(ledger, "n1", range(1))
    on(ledger, "n2", range(10, 20), Outcome.FAILED, failure_class="scf_not_converged")
    on(ledger, "n3", range(20, 23), Outcome.COMPLETED)
    on(ledger, "n3", range(30, 33))
    assert bad_hosts(campaign, ledger) == {}, "two structures; no fault of the host; as many that completed"
    on(ledger, "n1", range(2, 3), Outcome.FAILED, failure_class="disk_full")
    on(ledger, "n4", range(40, 43), Outcome.FAILED, failure_class="aborted")
    on(ledger, "n3", range(23, 24), Outcome.COMPLETED)
    assert bad_hosts(campaign, ledger) == {"n1": 3, "n4": 3}


def test_an_engine_that_is_broken_everywhere_is_no_fault_of_the_one_host_that_ran(
    campaign: Campaign, ledger: Ledger
) -> None:
    on(ledger, "n2", range(50, 60), Outcome.COMPLETED)
    on(ledger, "n1", range(3), Outcome.FAILED, failure_class="aborted", elapsed=5.0)
    assert bad_hosts(campaign, ledger) == {}, "what completed elsewhere did so before that"
    (later,) = claim(ledger, [60])
    ledger.mark_submitted({later.token: "18"}, now=999.0)
    ledger.mark_running([later.token], now=1000.0)
    assert bad_hosts(campaign, ledger, now=1004.0) == {}
    assert bad_hosts(campaign, ledger, now=1006.0) == {"n1": 3}, "elsewhere something computes for longer"


def test_a_host_that_crashes_all_is_left_out_once_another_has_completed(
    campaign: Campaign, ledger: Ledger
) -> None:
    on(ledger, "n1", range(3), Outcome.FAILED, failure_class="mpi_error")
    on(ledger, "n1.cluster.example", range(3, 4), Outcome.COMPLETED)
    assert bad_hosts(campaign, ledger) == {}, "that is the same host"
    on(ledger, "n2", range(4, 5), Outcome.COMPLETED)
    assert bad_hosts(campaign, ledger) == {"n1": 3}


def test_they_stay_out_until_they_are_let_in(
    campaign: Campaign, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(ledger, "n1.cluster.example", range(2))
    on(ledger, "n1", range(2, 3))
    assert bad_hosts(campaign, ledger) == {"n1": 3}, "with or without its domain"
    monkeypatch.setattr(health, "_LOOKED_AT", 5)
    on(ledger, "n2", range(10, 20), Outcome.COMPLETED)
    assert ledger.health.bad_hosts(3, now=0.0) == []
    assert bad_hosts(campaign, ledger) == left_out(ledger) == {"n1": 3}
    monkeypatch.undo()
    assert let_in(ledger, "n1.cluster.example") and not let_in(ledger, "n1") and not let_in(ledger, "n9")
    assert bad_hosts(campaign, ledger) == {}, "what happened before does not count any more"
    on(ledger, "n1", range(30, 32))
    assert bad_hosts(campaign, ledger) == {}
    on(ledger, "n1", range(32, 33))
    assert bad_hosts(campaign, ledger) == {"n1": 3}, "what happens afterwards does"


def test_what_goes_wrong_on_most_hosts_is_no_fault_of_theirs(campaign: Campaign, ledger: Ledger) -> None:
    for number in range(6):
        on(ledger, f"n{number}", range(5 * number, 5 * number + 5), Outcome.FAILED, failure_class="aborted")
    assert bad_hosts(campaign, ledger) == {}
    on(ledger, "n8", range(50, 51), Outcome.COMPLETED)
    assert bad_hosts(campaign, ledger) == {}
    for number in range(10, 16):
        on(
            ledger, f"n{number}", range(50 + number, 51 + number), Outcome.COMPLETED
        )  # begun after the crashes
    assert len(bad_hosts(campaign, ledger)) == 6


def test_the_submit_host_is_no_node_and_on_one_node_it_is_only_told(
    campaign: Campaign, ledger: Ledger
) -> None:
    on(ledger, socket.gethostname(), range(5))
    assert bad_hosts(campaign, ledger) == {}
    local = campaign.model_copy(update={"launcher": LauncherSettings(kind="local")})
    assert list(bad_hosts(local, ledger).values()) == [5]


def test_what_cannot_be_read_is_none(campaign: Campaign, ledger: Ledger) -> None:
    for text in ("[]", "{", '{"out": 3}'):
        ledger.set_meta(BAD_HOSTS.key, text)
        assert left_out(ledger) == bad_hosts(campaign, ledger) == {}
