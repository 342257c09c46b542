"""The attempts of a ledger."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from oact_dagster.ledger.ledger_file import LedgerFile
from oact_dagster.ledger.predicates import GOOD, HAS_RESULT, OPEN, REACHABLE
from oact_dagster.ledger.rows import ATTEMPT_COLUMNS, attempt_of
from oact_dagster.ledger.states import AttemptLine, AttemptRecord, EndedAttempt, Outcome

_ATTEMPTS: Final = f"SELECT {ATTEMPT_COLUMNS} FROM attempts a JOIN structures s ON s.id = a.structure_id"


@dataclass(frozen=True, slots=True)
class History:
    """The attempts of one structure, of several, or of all."""

    file: LedgerFile

    def attempts(self, orig_index: int) -> list[AttemptRecord]:
        """All attempts of a structure, oldest first."""
        return self.attempts_of([orig_index]).get(orig_index, [])

    def attempts_of(self, orig_indices: Iterable[int]) -> dict[int, list[AttemptRecord]]:
        """All attempts by ``orig_index``, oldest first; structures without attempts are left out."""
        found: dict[int, list[AttemptRecord]] = {}
        for row in self.file.rows_of(
            f"{_ATTEMPTS} WHERE s.orig_index IN (...) AND {REACHABLE} ORDER BY a.structure_id, a.number",
            orig_indices,
        ):
            found.setdefault(row["orig_index"], []).append(attempt_of(row))
        return found

    def good_attempts(self, orig_indices: Iterable[int]) -> dict[int, AttemptRecord]:
        """The attempt that completed each structure, by ``orig_index``; structures without one are left out."""
        rows = self.file.rows_of(
            f"{_ATTEMPTS} WHERE s.orig_index IN (...) AND {HAS_RESULT} AND {REACHABLE} AND {GOOD}",
            orig_indices,
        )
        return {row["orig_index"]: attempt_of(row) for row in rows}

    def open_attempts(self, orig_indices: Iterable[int]) -> dict[int, AttemptRecord]:
        """The open attempt of each structure, by ``orig_index``; structures without one are left out."""
        rows = self.file.rows_of(
            f"{_ATTEMPTS} WHERE {OPEN} AND s.orig_index IN (...) AND {REACHABLE}", orig_indices
        )
        return {row["orig_index"]: attempt_of(row) for row in rows}

    def every_open_attempt(self) -> Iterator[AttemptRecord]:
        """All open attempts; streamed."""
        for row in self.file.stream(
            f"{_ATTEMPTS} WHERE {OPEN} AND s.orig_index IS NOT NULL ORDER BY a.batch_id"
        ):
            yield attempt_of(row)

    def indices_of(self, tokens: Iterable[str]) -> dict[str, int]:
        """``orig_index`` by the token of an attempt."""
        rows = self.file.rows_of(
            "SELECT a.token, s.orig_index FROM attempts a JOIN structures s ON s.id = a.structure_id"
            " WHERE a.token IN (...)",
            tokens,
        )
        return {str(row[0]): int(row[1]) for row in rows}

    def results_of_other_settings(self, settings_hash: str, limit: int | None = None) -> list[int]:
        """``orig_index`` of completed structures whose input was made with other settings."""
        rows = self.file.rows(
            f"SELECT s.orig_index FROM structures s JOIN attempts a ON a.structure_id = s.id AND {GOOD}"
            f" WHERE {HAS_RESULT} AND s.orig_index IS NOT NULL"
            " AND a.settings_hash IS NOT NULL AND a.settings_hash != ? ORDER BY s.orig_index LIMIT ?",
            (settings_hash, -1 if limit is None else limit),
        )
        return [int(row[0]) for row in rows]

    def completed(self) -> Iterator[sqlite3.Row]:
        """Every completed structure with the attempt that completed it, for summaries; streamed."""
        yield from self.file.stream(
            "SELECT s.orig_index, s.elements, s.natoms, s.charge, s.spin, s.final_energy, s.max_forces, s.scf_steps,"
            " s.wall_time, s.n_cores, s.job_dir, s.fail_count, a.number AS attempt, a.host, a.remedy, a.result,"
            " a.scheduler_job_id, a.input_hash"
            f" FROM structures s LEFT JOIN attempts a ON a.structure_id = s.id AND {GOOD}"
            f" WHERE {HAS_RESULT} ORDER BY s.orig_index"
        )

    def count_attempts(self) -> int:
        """How many attempts there are, including open ones."""
        return self.file.number("SELECT COUNT(*) FROM attempts")

    def attempt_lines(self, limit: int) -> Iterator[AttemptLine]:
        """The newest attempts, newest first; streamed."""
        outcomes = {str(outcome): outcome for outcome in Outcome}
        for orig_index, number, outcome, *values in self.file.stream(
            "SELECT s.orig_index, a.number, a.outcome, a.failure_class, a.remedy, a.host, a.started_at, a.elapsed,"
            " a.n_cores FROM attempts a JOIN structures s ON s.id = a.structure_id ORDER BY a.id DESC LIMIT ?",
            (limit,),
        ):
            yield AttemptLine(orig_index, number, outcomes.get(outcome), *values)

    def ended_attempts(self) -> Iterator[EndedAttempt]:
        """Every attempt that has ended, in no particular order; streamed."""
        outcomes = {str(outcome): outcome for outcome in Outcome}
        for outcome, *values in self.file.stream(
            "SELECT outcome, failure_class, host, COALESCE(ended_at, claimed_at), COALESCE(elapsed, 0) FROM attempts"
            " WHERE outcome IS NOT NULL"
        ):
            yield EndedAttempt(outcomes[outcome], *values)
