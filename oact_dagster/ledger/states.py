"""The states of structures and attempts, and the ledger's records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple


class Status(StrEnum):
    """Status of a structure, as stored in ``structures.status``."""

    TO_RUN = "to_run"
    READY = "ready"
    """Found in old ledgers and claimed like ``to_run``; never written."""
    RUNNING = "running"
    """Queued or executing, depending on the state of its open attempt."""
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"


class AttemptState(StrEnum):
    """The progress of an attempt."""

    CLAIMED = "claimed"
    """In the ledger, but not yet submitted."""
    SUBMITTED = "submitted"
    """Handed to the launcher."""
    RUNNING = "running"
    """Its payload has started."""
    CLOSED = "closed"
    """Its outcome is recorded."""


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    LOST = "lost"
    """Its process or node vanished; counts only against the budget of losses."""
    CANCELLED = "cancelled"
    """Ended by the user, or never begun since the engine could not be started; counts against no budget."""


WAITING_STATUSES: Final = (Status.TO_RUN, Status.READY)
"""The statuses of structures that are to be run."""

FAILED_STATUSES: Final = (Status.FAILED, Status.TIMEOUT)
"""The statuses that count as failed."""

FAILED_OUTCOMES: Final = (Outcome.FAILED, Outcome.TIMEOUT)
"""The outcomes of an attempt that count as failed."""


@dataclass(frozen=True, slots=True)
class Place:
    """A structure's place in the order in which structures run."""

    priority: float = 0.0
    """Larger values run first."""
    cost_rank: float = 0.0
    """Within one priority, larger values run first."""
    n_basis_functions: int | None = None


@dataclass(frozen=True, slots=True)
class NewStructure:
    """A structure that intake made from a row of the CSV."""

    orig_index: int
    elements: str
    """Semicolon-separated symbols, one per atom."""
    natoms: int
    charge: int
    multiplicity: int
    geometry: str
    """``El x y z`` lines, in Å."""
    row_hash: str
    calculation_hash: str
    annotations: Mapping[str, str]
    place: Place = field(default_factory=Place)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row of the CSV that intake rejected."""

    orig_index: int
    line: int
    """Line of the CSV on which the row begins, counted from 1."""
    reason: str
    row_hash: str


@dataclass(frozen=True, slots=True)
class StructureRecord:
    """A structure in the ledger."""

    id: int
    orig_index: int
    elements: str
    natoms: int
    status: Status
    charge: int
    multiplicity: int
    geometry: str
    job_dir: str | None
    fail_count: int
    error_message: str | None
    loss_count: int
    held: bool
    row_hash: str
    annotations: Mapping[str, str]

    def within_budget(self, max_failures: int, max_losses: int) -> bool:
        """Whether it has fewer counted failures and fewer lost attempts than these."""
        return self.fail_count < max_failures and self.loss_count < max_losses


@dataclass(slots=True)
class JobRecord:
    """One row of ``structures``, with its column names; values as of :class:`NewStructure` and :class:`Result`.

    Intake sets all columns that have no default here; in rows of other tools they may be None.
    """

    id: int
    orig_index: int | None
    elements: str | None
    natoms: int | None
    status: Status
    charge: int | None
    spin: int | None
    """Spin multiplicity, 2S + 1."""
    geometry: str | None
    job_dir: str | None = None
    max_forces: float | None = None
    scf_steps: int | None = None
    final_energy: float | None = None
    error_message: str | None = None
    fail_count: int = 0
    wall_time: float | None = None
    n_cores: int | None = None


class StructureLine(NamedTuple):
    """A structure with data of its last attempt; values as of :class:`NewStructure` and :class:`Result`."""

    orig_index: int | None
    """None only in a foreign file."""
    elements: str
    natoms: int
    charge: int
    multiplicity: int
    status: Status
    final_energy: float | None
    max_forces: float | None
    scf_steps: int | None
    wall_time: float | None
    n_cores: int | None
    message: str | None
    """Error message, truncated."""
    job_dir: str | None
    n_basis_functions: int | None
    """None if not counted."""
    attempts: int
    host: str | None
    failure_class: str | None
    """Failure class of the last attempt."""
    annotations: str
    """The other columns of the CSV, as JSON."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed structure with the attempt opened for it."""

    structure: StructureRecord
    attempt: int
    """Number of the attempt, from 1."""
    token: str
    """Identifies the attempt in the scheduler, in ``orca.inp`` and in its output."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What was written into the folder of an attempt."""

    token: str
    job_dir: str
    input_hash: str
    """The data version: a hash of what the input computes."""
    n_cores: int
    remedy: str | None = None
    """Name of the remedy applied after earlier attempts; None for an unchanged input."""
    plan: Mapping[str, Any] = field(default_factory=dict)
    """Changes of the input, memory and time limit of the attempt."""


@dataclass(frozen=True, slots=True)
class SeenEnding:
    """How a job without an attempt of ours ended, according to its output; values as of :class:`Result`."""

    structure_id: int
    status: Status
    job_dir: str
    message: str | None
    final_energy: float | int | None = None
    max_forces: float | int | None = None
    scf_steps: float | int | None = None
    wall_time: float | int | None = None
    n_cores: float | int | None = None
    not_orca: tuple[str, str | None] | None = None
    """The engine and its version, if it was not ORCA that wrote the output."""


class EndedAttempt(NamedTuple):
    """How an attempt ended, and after how long."""

    outcome: Outcome
    failure_class: str | None
    host: str | None
    ended_at: float
    """Unix time, s."""
    elapsed: float
    """s"""


class AttemptLine(NamedTuple):
    """An attempt and its outcome. Unix times and durations in s."""

    orig_index: int | None
    number: int
    outcome: Outcome | None
    """None if it has not ended."""
    failure_class: str | None
    remedy: str | None
    host: str | None
    started_at: float | None
    elapsed: float | None
    n_cores: int | None


@dataclass(frozen=True, slots=True)
class Result:
    """What was read from an attempt's output. Energies in Eh, gradients in Eh/bohr, times in s."""

    final_energy: float | None
    """None only for a failed attempt."""
    max_forces: float | None
    """Largest Cartesian component of the gradient (ORCA's MAX gradient)."""
    max_atom_force_norm: float | None
    scf_steps: int | None
    wall_time: float | None
    n_cores: int | None
    engine: str
    engine_version: str | None
    output_file: str
    s2: float | None = None
    opt_cycles: int | None = None
    n_atoms: int | None = None
    terminated_normally: bool | None = None
    scf_converged: bool | None = None
    """Of the last SCF."""
    opt_converged: bool | None = None
    """None without an optimisation."""
    energy_flag: str | None = None
    """Text that ORCA prints after an energy (or that of the last gradient) that is not fully converged."""
    charge: int | None = None
    """Charge according to the output."""
    mult: int | None = None
    """Multiplicity according to the output."""
    bonds_before: int | None = None
    """First neighbours of the metals in the input geometry; None, as the fields below, if bonds cannot be compared."""
    bond_stretch: float | None = None
    """Largest ratio of a metal-neighbour distance in the geometry of the last gradient to that in the input."""
    stretched_bond: str | None = None
    """The bond with that ratio, such as ``U1-O4``."""
    metals_alone: int | None = None
    """Metals that had neighbours in the input geometry, but have none now."""
    convergence: Mapping[str, Any] = field(default_factory=dict)
    """Course of the SCF and the optimisation, for pictures."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended, ready to be recorded."""

    token: str
    outcome: Outcome
    ended_at: float
    """Unix time, s."""
    failure_class: str | None = None
    message: str | None = None
    host: str | None = None
    started_at: float | None = None
    result: Result | None = None
    """What was read from its output; for a failed attempt it does not become the structure's result."""
    elapsed: float | None = None
    """Wall time of the attempt, even of a failed one, s."""
    n_cores: int | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What a failed attempt's files reveal for the next attempt."""
    cpu_time_s: float | None = None
    """User and system time of all its processes."""
    max_rss_mb: float | None = None
    """Peak memory: of the job from the scheduler's accounting, else of the largest process."""
    not_before: float = 0.0
    """Unix time before which the structure is not retried automatically, s."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt in the ledger."""

    structure_id: int
    orig_index: int
    number: int
    token: str
    state: AttemptState
    batch_id: str
    launcher: str
    scheduler_job_id: str | None
    host: str | None
    job_dir: str | None
    input_hash: str | None
    settings_hash: str | None
    remedy: str | None
    plan: Mapping[str, Any]
    outcome: Outcome | None
    failure_class: str | None
    message: str | None
    claimed_at: float
    started_at: float | None
    ended_at: float | None
    elapsed: float | None
    n_cores: int | None
    result: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    cpu_time_s: float | None = None
    max_rss_mb: float | None = None
