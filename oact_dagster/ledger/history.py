"""A whole ledger line by line, for pictures and tables: structures with their last attempt, and the attempts.

Everything is streamed, and nothing of it holds a geometry.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from oact_dagster.ledger.figures import LedgerFigures
from oact_dagster.ledger.states import Outcome, Status

_MESSAGE_SHOWN: Final = 200
"""So many characters of a message are read; they may hold a megabyte."""

_LAST: Final = "a.number = (SELECT MAX(b.number) FROM attempts b WHERE b.structure_id = s.id)"
_GOOD: Final = (
    "a.outcome = 'completed' AND a.undone = 0 AND a.number = (SELECT MAX(b.number) FROM attempts b"
    " WHERE b.structure_id = s.id AND b.outcome = 'completed' AND b.undone = 0)"
)


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


class EndedLine(NamedTuple):
    """What a count of attempts needs of one that has ended."""

    outcome: Outcome
    failure_class: str | None
    host: str | None
    ended_at: float | None
    """Unix time, s."""


class Origin(NamedTuple):
    """What completed structures were computed with."""

    engine: str | None
    """None where it was not kept, or the result was set by hand."""
    engine_version: str | None
    settings_hash: str | None
    """Of the settings that decide what an input computes."""
    structures: int


class LedgerHistory(LedgerFigures):
    """Every structure and every attempt, streamed."""

    def structure_lines(self) -> Iterator[StructureLine]:
        """Every structure, in the order of the CSV; streamed.

        Raises:
            LedgerError: the ledger cannot be read.
            ValueError: a status is none of ours; :meth:`count_by_status` names it.
        """
        statuses = {str(status): status for status in Status}
        for row in self._stream(
            "SELECT s.orig_index, COALESCE(s.elements, ''), COALESCE(s.natoms, 0), COALESCE(s.charge, 0),"
            " COALESCE(s.spin, 1), s.status, s.final_energy, s.max_forces, s.scf_steps, s.wall_time, s.n_cores,"
            f" substr(s.error_message, 1, {_MESSAGE_SHOWN}), s.job_dir, st.n_basis_functions,"
            " COALESCE(a.number, 0), a.host, a.failure_class, COALESCE(st.annotations, '{}') FROM structures s"
            " LEFT JOIN structure_state st ON st.structure_id = s.id"
            f" LEFT JOIN attempts a ON a.structure_id = s.id AND {_LAST} ORDER BY s.orig_index, s.id"
        ):
            values = list(row)
            status = statuses.get(values[5])
            if status is None:
                raise ValueError(f"{self.path}: unknown status {values[5]!r}")
            values[5] = status
            yield StructureLine._make(values)

    def attempt_lines(self, limit: int) -> Iterator[AttemptLine]:
        """The attempts that were opened last, the newest first; at most ``limit``, streamed."""
        outcomes = {str(outcome): outcome for outcome in Outcome}
        for row in self._stream(
            "SELECT s.orig_index, a.number, a.outcome, a.failure_class, a.remedy, a.host, a.started_at, a.elapsed,"
            " a.n_cores FROM attempts a JOIN structures s ON s.id = a.structure_id ORDER BY a.id DESC LIMIT ?",
            (limit,),
        ):
            values = list(row)
            values[2] = outcomes.get(values[2])
            yield AttemptLine._make(values)

    def count_attempts(self) -> int:
        """How many attempts there are, open ones with them."""
        return self._number("SELECT COUNT(*) FROM attempts")

    def ended_lines(self) -> Iterator[EndedLine]:
        """Every attempt that has ended, in no order; streamed."""
        outcomes = {str(outcome): outcome for outcome in Outcome}
        for outcome, failure_class, host, ended_at in self._stream(
            "SELECT outcome, failure_class, host, ended_at FROM attempts WHERE outcome IS NOT NULL"
        ):
            yield EndedLine(outcomes[outcome], failure_class, host, ended_at)

    def count_by_origin(self) -> list[Origin]:
        """Completed structures by engine, its version, and the settings that their input was made with; most first."""
        version = (
            "CASE WHEN json_valid(a.result) AND json_type(a.result) = 'object'"
            " THEN CAST(json_extract(a.result, '$.engine_version') AS TEXT) END"
        )
        rows = self._rows(
            f"SELECT a.engine, {version} AS version, a.settings_hash, COUNT(*) AS n FROM structures s"
            f" LEFT JOIN attempts a ON a.structure_id = s.id AND {_GOOD} WHERE s.status = 'completed'"
            " GROUP BY 1, 2, 3 ORDER BY n DESC, 1, 2, 3"
        )
        return [Origin._make(row) for row in rows]
