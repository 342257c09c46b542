"""What a structure's next attempt runs: the remedy for how the earlier ones ended, or that there is none."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil

from oact_dagster.attempts.attempt_folders import attempt_folders
from oact_dagster.attempts.input_text import chemistry, input_settings, input_text
from oact_dagster.ledger.states import AttemptRecord, AttemptState, Outcome, StructureRecord
from oact_dagster.orca.failures import FailureClass, failure_classes, find_failure_class
from oact_dagster.orca.inputs.settings import InputSettings
from oact_dagster.orca.outputs.attempt_evidence import AttemptEvidence
from oact_dagster.orca.remedies.next_input import PastAttempt, Plan, ResourceLimits, Stop, next_input
from oact_dagster.orca.remedies.restart import Leftovers, find_leftovers
from oact_dagster.orca.structure import Structure
from oact_dagster.settings.campaign import Campaign

SETUP: Final = "setup"
"""In what the ledger keeps of an attempt: what the user's own function returned, where that was a string."""

AVOID: Final = "avoid_hosts"
"""Likewise: the hosts that its job is not to run on."""

BEGINS_AGAIN: Final = "begins_again"
"""Likewise: that its ladder was used up, and begins again with it."""

_COUNTING: Final = (Outcome.FAILED, Outcome.TIMEOUT, Outcome.LOST)


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """What is to be written and run."""

    structure: Structure
    """With the geometry that it starts from."""
    settings: InputSettings
    """The campaign's with the plan's changes."""
    plan: Plan
    orbitals: Path | None
    """The ``.gbw`` to start from, which is copied."""
    time_limit_s: float
    """Of its job; the calculation in it is ended a little before."""
    avoid: tuple[str, ...] = ()
    """Hosts that a scheduler is asked to leave out."""
    begins_again: bool = False
    """The ladder was used up before it."""

    def kept(self, maxcore: int | None, setup: str | None) -> dict[str, Any]:
        """What the ledger keeps of it.

        Args:
            maxcore: what the input says, MB for each process.
            setup: what the user's own function returned.
        """
        kept: dict[str, Any] = {
            "changes": self.plan.to_json(),
            "maxcore": maxcore,
            "time_limit_s": self.time_limit_s,
        }
        if self.begins_again:
            kept[BEGINS_AGAIN] = True
        if self.avoid:
            kept[AVOID] = list(self.avoid)
        return kept if setup is None else {**kept, SETUP: setup}


def plan_next(
    campaign: Campaign,
    record: StructureRecord,
    attempts: Sequence[AttemptRecord],
    *,
    settings_hash: str,
    never_stop: bool = False,
) -> NextAttempt | Stop:
    """Decide on a structure's next attempt.

    Only what was tried with the present settings counts: after a change of the settings that decide inputs, a
    structure begins with its plain input again, also one that had stopped. So does one whose input was refused and can
    be written by now.

    Args:
        campaign: its settings.
        record: the structure.
        attempts: its attempts, the first one first.
        settings_hash: the campaign's, which is the same for all its structures.
        never_stop: where there is no remedy left, begin with the plain input again; if that fails, too, its ladder
            begins again.

    Raises:
        GeometryError, StructureError, InputRefused: structure and settings do not go together.
    """
    base = input_settings(campaign, record.natoms)
    structure = chemistry(record)
    limit = campaign.launcher.time_limit_of(record.natoms)
    ended = [
        attempt
        for attempt in attempts
        if attempt.state is AttemptState.CLOSED and attempt.settings_hash == settings_hash
    ]
    plain = NextAttempt(structure, base, Plan(), None, limit, _bad_hosts(ended))
    tried = [attempt for attempt in ended if attempt.outcome in _COUNTING]
    if not tried or _can_be_written_by_now(campaign, record, tried):
        return plain
    # What was tried before the ladder began again does not count for it.
    began = max((n for n, attempt in enumerate(tried) if attempt.plan.get(BEGINS_AGAIN)), default=0)
    on_ladder = tried[began:]
    folders = [folder for attempt in reversed(on_ladder) for folder in _folders_of(attempt)]
    left = find_leftovers(folders, structure)
    plan = next_input(
        base,
        structure,
        [_past(attempt, campaign) for attempt in on_ladder],
        left=left,
        limits=ResourceLimits(_memory_mb(campaign), campaign.launcher.longest_job_s),
        ladders=campaign.ladders(),
        time_limit_s=limit,
    )
    if isinstance(plan, Stop):
        return replace(plain, begins_again=True) if never_stop else plan
    plan = _with_what_is_there(plan, left)
    if plan.from_geometry and left.geometry is not None:
        structure = replace(structure, geometry=left.geometry)
    return NextAttempt(
        structure,
        plan.settings(base),
        plan,
        left.gbw if plan.from_orbitals else None,
        # The user may have raised the limit since.
        max(plan.time_limit_s or 0.0, limit),
        plain.avoid,
    )


def _can_be_written_by_now(
    campaign: Campaign, record: StructureRecord, tried: Sequence[AttemptRecord]
) -> bool:
    """Whether no input could be written ever before, and one can now: comments of the CSV are no settings."""
    if any(attempt.failure_class != FailureClass.INPUT_REFUSED for attempt in tried):
        return False
    try:
        input_text(campaign, record, None)
    except ValueError:
        return False
    return True


def _memory_mb(campaign: Campaign) -> int | None:
    """What one calculation may use with all its processes, MB; where it runs on this machine, what that has."""
    launcher = campaign.launcher
    if launcher.memory_mb is not None or not launcher.on_this_machine:
        return launcher.memory_mb
    memory = int(psutil.virtual_memory().total) // 2**20
    return memory // launcher.max_workers if launcher.in_workers else memory


def _bad_hosts(ended: Sequence[AttemptRecord]) -> tuple[str, ...]:
    """Hosts on which attempts failed by no fault of their input, by the names that schedulers call them."""
    avoided = failure_classes(lambda facts: facts.avoid_host)
    hosts = {
        one.host
        for one in ended
        if one.failure_class in avoided
        # What was cancelled says nothing of its host, but for what a node took along when it failed.
        and (one.outcome in _COUNTING or one.failure_class == FailureClass.LOST)
        and one.host
    }
    # What runs on this machine has no other to run on; and ledgers of before tell it for what never began.
    hosts.discard(socket.gethostname())
    return tuple(sorted({host.partition(".")[0] for host in hosts}))


def _folders_of(attempt: AttemptRecord) -> list[Path]:
    return (
        []
        if attempt.job_dir is None
        else attempt_folders(Path(attempt.job_dir), attempt.number, attempt.token)
    )


def _past(attempt: AttemptRecord, campaign: Campaign) -> PastAttempt:
    timed_out = FailureClass.TIMEOUT if attempt.outcome is Outcome.TIMEOUT else None
    given = attempt.plan
    return PastAttempt(
        failure_class=find_failure_class(attempt.failure_class) or timed_out,
        plan=Plan.from_json(given.get("changes") or {}),
        evidence=AttemptEvidence.from_json(attempt.evidence),
        message=attempt.message or "",
        n_cores=attempt.n_cores,
        maxcore=given.get("maxcore"),
        time_limit_s=given.get("time_limit_s", campaign.launcher.job_timeout_s),
    )


def _with_what_is_there(plan: Plan, left: Leftovers) -> Plan:
    """Files may have been cleared away since: what is not there is not started from."""
    return replace(
        plan,
        from_orbitals=plan.from_orbitals and left.gbw is not None,
        from_geometry=plan.from_geometry and left.geometry is not None,
    )
