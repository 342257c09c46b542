"""A structure's next attempt: the remedy for how earlier ones ended, or a stop if there is none."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil

from oact_dagster.attempts.attempt_folders import attempt_folders
from oact_dagster.attempts.input_text import chemistry, input_settings, input_text
from oact_dagster.ledger.states import FAILED_OUTCOMES, AttemptRecord, AttemptState, Outcome, StructureRecord
from oact_dagster.orca.failures import FailureClass, failure_classes, find_failure_class
from oact_dagster.orca.inputs.settings import InputSettings
from oact_dagster.orca.outputs.attempt_evidence import AttemptEvidence
from oact_dagster.orca.remedies.next_input import PastAttempt, Plan, ResourceLimits, Stop, next_input
from oact_dagster.orca.remedies.restart import Leftovers, find_leftovers
from oact_dagster.orca.structure import Structure
from oact_dagster.settings.campaign import Campaign

SETUP: Final = "setup"
"""Key in an attempt's plan in the ledger: the string that ``setup_func`` returned."""

AVOID: Final = "avoid_hosts"
"""Key in the plan: hosts on which the job must not run."""

BEGINS_AGAIN: Final = "begins_again"
"""Key in the plan: the ladder was used up and begins again with this attempt."""

_COUNTING: Final = (*FAILED_OUTCOMES, Outcome.LOST)


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """The next attempt of a structure, to be written and run."""

    structure: Structure
    """The structure with the geometry to start from."""
    settings: InputSettings
    """The campaign's input settings with the plan's changes."""
    plan: Plan
    orbitals: Path | None
    """The ``.gbw`` file to copy and start from."""
    time_limit_s: float
    """Time limit of the job; the calculation is ended a little earlier."""
    avoid: tuple[str, ...] = ()
    """Hosts that the scheduler is asked to leave out."""
    begins_again: bool = False
    """Whether the ladder was used up before this attempt."""

    def kept(self, maxcore: int | None, setup: str | None) -> dict[str, Any]:
        """Return the plan for the ledger, with the input's ``maxcore``, MB, and what ``setup_func`` returned."""
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

    Only attempts with the present settings count. A structure begins with its plain input again after a change of the
    settings that decide inputs, even if it had stopped, and after its input was refused and can be written now.

    Args:
        campaign: The settings.
        record: The structure.
        attempts: Its attempts, in order.
        settings_hash: Hash of the campaign's settings.
        never_stop: When no remedy is left, begin the ladder again with the plain input instead of stopping.

    Raises:
        GeometryError, StructureError, InputRefused: Structure and settings do not go together.
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
    # Attempts from before the ladder began again do not count for it.
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
    """Return whether no input could be written before but one can now: CSV annotations are not in the settings hash."""
    if any(attempt.failure_class != FailureClass.INPUT_REFUSED for attempt in tried):
        return False
    try:
        input_text(campaign, record, None)
    except ValueError:
        return False
    return True


def _memory_mb(campaign: Campaign) -> int | None:
    """Return the memory for all processes of one calculation, MB; by default this machine's, if it runs here."""
    launcher = campaign.launcher
    if launcher.memory_mb is not None or not launcher.on_this_machine:
        return launcher.memory_mb
    memory = int(psutil.virtual_memory().total) // 2**20
    return memory // launcher.max_workers if launcher.in_workers else memory


def _bad_hosts(ended: Sequence[AttemptRecord]) -> tuple[str, ...]:
    """Return the scheduler's names of hosts on which attempts failed through no fault of their input."""
    avoided = failure_classes(lambda facts: facts.avoid_host)
    hosts = {
        one.host
        for one in ended
        if one.failure_class in avoided
        # Cancelled attempts say nothing about their host, unless the node failed.
        and (one.outcome in _COUNTING or one.failure_class == FailureClass.LOST)
        and one.host
    }
    # Calculations on this machine cannot go elsewhere, and older ledgers name it for attempts that never began.
    hosts.discard(socket.gethostname())
    return tuple(sorted({host.partition(".")[0] for host in hosts}))


def _folders_of(attempt: AttemptRecord) -> list[Path]:
    job_dir = attempt.job_dir
    return [] if job_dir is None else attempt_folders(Path(job_dir), attempt.number, attempt.token)


def _past(attempt: AttemptRecord, campaign: Campaign) -> PastAttempt:
    timed_out = FailureClass.TIMEOUT if attempt.outcome is Outcome.TIMEOUT else None
    return PastAttempt(
        failure_class=find_failure_class(attempt.failure_class) or timed_out,
        plan=Plan.from_json(attempt.plan.get("changes") or {}),
        evidence=AttemptEvidence.from_json(attempt.evidence),
        message=attempt.message or "",
        n_cores=attempt.n_cores,
        maxcore=attempt.plan.get("maxcore"),
        time_limit_s=attempt.plan.get("time_limit_s", campaign.launcher.job_timeout_s),
    )


def _with_what_is_there(plan: Plan, left: Leftovers) -> Plan:
    """Drop restarts from files that have been removed since."""
    return replace(
        plan,
        from_orbitals=plan.from_orbitals and left.gbw is not None,
        from_geometry=plan.from_geometry and left.geometry is not None,
    )
