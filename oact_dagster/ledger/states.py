"""The states of structures and attempts, and the records that the ledger gives out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


class Status(StrEnum):
    """Status of a structure, as the column ``structures.status`` holds it."""

    TO_RUN = "to_run"
    READY = "ready"
    """Kept in old ledgers and claimed like ``to_run``; never written."""
    RUNNING = "running"
    """Queued or executing; the state of its open attempt tells which."""
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"


class AttemptState(StrEnum):
    """How far an attempt is."""

    CLAIMED = "claimed"
    """In the ledger; no scheduler has been told."""
    SUBMITTED = "submitted"
    """Handed to the launcher."""
    RUNNING = "running"
    """Its payload has started."""
    CLOSED = "closed"
    """Its outcome is recorded."""


class Outcome(StrEnum):
    """What became of an attempt."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    LOST = "lost"
    """Its process or node vanished; counts against the budget of losses only."""
    CANCELLED = "cancelled"
    """Ended by the user, or never begun because the engine could not be started; counts against no budget."""


@dataclass(frozen=True, slots=True)
class Place:
    """A structure's place in the order in which they are run."""

    priority: float = 0.0
    """The larger the earlier."""
    cost_rank: float = 0.0
    """Likewise, among those of one priority."""
    n_basis_functions: int | None = None


@dataclass(frozen=True, slots=True)
class NewStructure:
    """A row for the ledger, as intake makes it from a row of the CSV."""

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
    """A row of the CSV that intake refused."""

    orig_index: int
    line: int
    """Line of the CSV on which the row begins, from 1."""
    reason: str
    row_hash: str


@dataclass(frozen=True, slots=True)
class StructureRecord:
    """A structure as the ledger holds it."""

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


@dataclass(slots=True)
class JobRecord:
    """One row of the table ``structures``, with the names of its columns. Energies in Eh, gradients in Eh/bohr.

    What intake writes is there in every row; a row that another tool made may lack any of it.
    """

    id: int
    orig_index: int | None
    elements: str | None
    """Semicolon-separated symbols, one per atom."""
    natoms: int | None
    status: Status
    charge: int | None
    spin: int | None
    """Spin multiplicity, 2S + 1."""
    geometry: str | None
    """``El x y z`` lines, in Å."""
    job_dir: str | None = None
    max_forces: float | None = None
    """Largest Cartesian component of the gradient."""
    scf_steps: int | None = None
    final_energy: float | None = None
    error_message: str | None = None
    fail_count: int = 0
    wall_time: float | None = None
    """s"""
    n_cores: int | None = None


class StructureLine(NamedTuple):
    """A structure and what its last attempt tells. Energies in Eh, gradients in Eh/bohr, times in s."""

    orig_index: int | None
    """None only in a file that others made."""
    elements: str
    """Semicolon-separated symbols, one per atom."""
    natoms: int
    charge: int
    multiplicity: int
    status: Status
    final_energy: float | None
    max_forces: float | None
    """Largest Cartesian gradient component."""
    scf_steps: int | None
    wall_time: float | None
    n_cores: int | None
    message: str | None
    """Of its failure; cut."""
    job_dir: str | None
    n_basis_functions: int | None
    """None where it was not counted."""
    attempts: int
    host: str | None
    failure_class: str | None
    """Of its last attempt."""
    annotations: str
    """What the CSV says of it beside, as JSON."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A structure that is ours to run, with the attempt that was opened for it."""

    structure: StructureRecord
    attempt: int
    """Number of the attempt, from 1."""
    token: str
    """Names the attempt to the scheduler, in ``orca.inp`` and in its output."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What was written into the folder of an attempt."""

    token: str
    job_dir: str
    input_hash: str
    """The data version: hash of what the input computes."""
    n_cores: int
    remedy: str | None = None
    """Name of the step that changed the input after earlier attempts; None for a plain one."""
    plan: Mapping[str, Any] = field(default_factory=dict)
    """What the attempt was given: changes of the input, memory, time limit."""


@dataclass(frozen=True, slots=True)
class SeenEnding:
    """How a job ended that no attempt of ours stands for, as its output tells. Energies in Eh, gradients in Eh/bohr."""

    structure_id: int
    status: Status
    job_dir: str
    message: str | None
    final_energy: float | int | None = None
    max_forces: float | int | None = None
    scf_steps: float | int | None = None
    wall_time: float | int | None = None
    """s"""
    n_cores: float | int | None = None
    not_orca: tuple[str, str | None] | None = None
    """The engine and its version, where another one than ORCA wrote the output."""


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
    """An attempt. Unix times in s."""

    orig_index: int | None
    number: int
    outcome: Outcome | None
    """None where it has not ended."""
    failure_class: str | None
    remedy: str | None
    host: str | None
    started_at: float | None
    elapsed: float | None
    """Wall time, s."""
    n_cores: int | None


@dataclass(frozen=True, slots=True)
class Result:
    """What an attempt's output holds. Energies in Eh, gradients in Eh/bohr, times in s."""

    final_energy: float | None
    """None only for an attempt that failed."""
    max_forces: float | None
    """Largest Cartesian component of the gradient (what ORCA prints as MAX gradient)."""
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
    """What stands behind the energy, or behind that of the last gradient, where it is not fully converged."""
    charge: int | None = None
    """As the output says."""
    mult: int | None = None
    """Its multiplicity, likewise."""
    bonds_before: int | None = None
    """First neighbours of the metals in the structure's geometry; this and what follows of bonds is None without."""
    bond_stretch: float | None = None
    """Largest ratio of their distances in the geometry of the last gradient to those before."""
    stretched_bond: str | None = None
    """The bond of that, such as ``U1-O4``."""
    metals_alone: int | None = None
    """Metals that had neighbours before, and have none now."""
    convergence: Mapping[str, Any] = field(default_factory=dict)
    """How SCF and optimisation went, for pictures."""

    @property
    def core_hours(self) -> float | None:
        """Wall time times cores, in hours."""
        if self.wall_time is None or self.n_cores is None:
            return None
        return self.wall_time * self.n_cores / 3600.0


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
    """What its output holds; of a failed attempt it stays with the attempt."""
    elapsed: float | None = None
    """Wall time of the attempt, also of a failed one, s."""
    n_cores: int | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What a failed attempt's files tell for the next one."""
    cpu_time_s: float | None = None
    """Of all its processes, user and system."""
    max_rss_mb: float | None = None
    """Largest memory: of its job by the scheduler's accounting, else of the largest of its processes."""
    not_before: float = 0.0
    """Unix time before which its structure is not to be tried again by itself, s."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt as the ledger holds it."""

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
