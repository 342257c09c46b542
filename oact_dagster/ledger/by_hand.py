"""What is changed by hand, by a reset or by the tools that know the table ``structures`` alone; rows by their ``id``.

Nothing here touches an attempt that is open: it stands for a calculation that may be running. While there is one the
structure is given to nobody, whatever its status says (a claim puts it back to ``running``, so that the attempt is
followed, or judged when its batch is dead), and its ending is recorded when it comes.

Result columns (energy, forces, SCF steps, wall time, cores) may be set before or after the status ``completed``, and
are cleared when a structure is given another one. A failure that is set by hand gets a closed attempt of its own,
which keeps the numbers and is not counted in ``fail_count``: a reset counts it, or a claim, or setting ``running``.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from oact_dagster.ledger.batches import WritableLedger
from oact_dagster.ledger.chunks import chunks, marks
from oact_dagster.ledger.failures import LAUNCHER_BY_HAND, adopt_failures, count_failures, mark_undone
from oact_dagster.ledger.states import MovedFolder, SeenEnding, Status

BATCH_BY_HAND: Final = "by hand"
"""The batch of attempts that stand for failures set by hand."""

NO_RESULT: Final = (
    "final_energy = NULL, max_forces = NULL, scf_steps = NULL, wall_time = NULL, n_cores = NULL"
)
"""Sets the result columns of ``structures`` to nothing."""

_FAILED: Final = (Status.FAILED, Status.TIMEOUT)


class LedgerByHand(WritableLedger):
    """Resets, and changes of the table ``structures`` by hand."""

    def reset(self, statuses: Sequence[Status] = (Status.FAILED,), max_fail_count: int | None = None) -> int:
        """Set failed or timed-out structures to ``to_run``, and clear their error messages.

        Each of their failures is in ``fail_count`` afterwards, once: those that were recorded are already, those of an
        old file and those set by hand are counted here; also of the structures that are left as they are.

        Args:
            statuses: ``failed``, ``timeout`` or both.
            max_fail_count: structures with as many failures are left as they are; 3 gives three attempts in all.

        Returns:
            How many are ``to_run`` now.

        Raises:
            ValueError: another status.
        """
        if not set(statuses) <= set(_FAILED):
            raise ValueError(f"only failed and timeout can be reset, not {', '.join(statuses)}")
        where = f"s.status IN ({marks(statuses)})"
        least = 2**62 if max_fail_count is None else max_fail_count
        with self._transaction() as db:
            count_failures(db, BATCH_BY_HAND, where, statuses)
            where, values = f"{where} AND COALESCE(s.fail_count, 0) < ?", (*statuses, least)
            mark_undone(db, where, values)
            # Whoever resets them wants them to be run now.
            db.execute(
                "UPDATE structure_state SET not_before = 0, set_aside_for = NULL"
                f" WHERE structure_id IN (SELECT s.id FROM structures s WHERE {where})",
                values,
            )
            return db.execute(
                f"UPDATE structures SET status = 'to_run', error_message = NULL, {NO_RESULT},"
                f" updated_at = CURRENT_TIMESTAMP WHERE id IN (SELECT s.id FROM structures s WHERE {where})",
                values,
            ).rowcount

    def update_status(
        self,
        structure_id: int,
        status: Status,
        error_message: str | None = None,
        *,
        increment_fail_count: bool = False,
    ) -> bool:
        """Set a structure's status by hand.

        Args:
            structure_id: its ``id``.
            status: the new one.
            error_message: for a failure, None leaves the one that is there; any other status clears it, unless one is
                given.
            increment_fail_count: count a failure now, and not when it is reset.

        Returns:
            Whether there is such a structure.
        """
        with self._transaction() as db:
            found = self._set_status(db, [structure_id], status, error_message)
            if found and increment_fail_count:
                self._count_now(db, structure_id, status)
        return found == 1

    def update_status_bulk(self, structure_ids: Iterable[int], status: Status) -> int:
        """Set the status of many structures by hand, all or none.

        Returns:
            How many of them there are.
        """
        with self._transaction() as db:
            return sum(
                self._set_status(db, chunk, status, None) for chunk in chunks(dict.fromkeys(structure_ids))
            )

    def record_seen(self, endings: Iterable[SeenEnding]) -> set[int]:
        """Record how jobs ended that no attempt of ours stands for, all or none.

        A structure that is not running any more, or that has an open attempt, keeps what it has.

        Returns:
            The ``id`` of those that were recorded.
        """
        recorded: set[int] = set()
        with self._transaction() as db:
            for one in endings:
                row = db.execute(
                    "SELECT 1 FROM structures s WHERE s.id = ? AND s.status = 'running' AND NOT EXISTS"
                    " (SELECT 1 FROM attempts a WHERE a.structure_id = s.id AND a.state != 'closed')",
                    (one.structure_id,),
                ).fetchone()
                if row is None:
                    continue
                db.execute(
                    f"UPDATE structures SET job_dir = ?, {', '.join(f'{name} = ?' for name in _RESULTS)} WHERE id = ?",
                    (one.job_dir, *(getattr(one, name) for name in _RESULTS), one.structure_id),
                )
                self._set_status(db, [one.structure_id], one.status, one.message)
                if one.status is Status.COMPLETED and one.not_orca is not None:
                    self._say_what_computed(db, one, *one.not_orca)
                recorded.add(one.structure_id)
        return recorded

    def move_folders(self, moved: Iterable[MovedFolder]) -> int:
        """Keep where job folders are that somebody has moved, all or none.

        A structure that has an open attempt, or whose folder is another one by now, keeps what it has.

        Returns:
            How many structures have another folder now.
        """
        count = 0
        with self._transaction() as db:
            for one in moved:
                changed = db.execute(
                    "UPDATE structures SET job_dir = ?, updated_at = CURRENT_TIMESTAMP WHERE id = ? AND job_dir = ?"
                    " AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.structure_id = structures.id"
                    " AND a.state != 'closed')",
                    (one.job_dir, one.structure_id, one.kept),
                ).rowcount
                if changed:
                    # The folders of earlier attempts lie beside it, and were moved with it.
                    db.execute(
                        "UPDATE attempts SET job_dir = ? WHERE structure_id = ? AND job_dir = ?",
                        (one.job_dir, one.structure_id, one.kept),
                    )
                count += changed
        return count

    @staticmethod
    def _say_what_computed(
        db: sqlite3.Connection, seen: SeenEnding, engine: str, version: str | None
    ) -> None:
        """Give a result that is not ORCA's a closed attempt: the table ``structures`` has no place for its engine."""
        result = {name: getattr(seen, name) for name in _RESULTS}
        result |= {"engine": engine, "engine_version": version}
        at = time.time()
        db.execute(
            "INSERT INTO attempts (structure_id, number, token, state, batch_id, launcher, job_dir, outcome,"
            " claimed_at, ended_at, n_cores, result, engine)"
            " SELECT ?, COALESCE(MAX(number), 0) + 1, ?, 'closed', ?, ?, ?, 'completed', ?, ?, ?, ?, ?"
            " FROM attempts WHERE structure_id = ?",
            (
                seen.structure_id,
                secrets.token_hex(8),
                BATCH_BY_HAND,
                LAUNCHER_BY_HAND,
                seen.job_dir,
                at,
                at,
                seen.n_cores,
                json.dumps(result),
                engine,
                seen.structure_id,
            ),
        )

    def update_metrics(
        self,
        structure_id: int,
        *,
        job_dir: str | None = None,
        max_forces: float | None = None,
        scf_steps: int | None = None,
        final_energy: float | None = None,
        error_message: str | None = None,
        wall_time: float | None = None,
        n_cores: int | None = None,
    ) -> bool:
        """Set some of a structure's columns by hand; None leaves one as it is. Energies in Eh, forces in Eh/bohr, s.

        Returns:
            Whether there is such a structure.
        """
        given: dict[str, Any] = {
            "job_dir": job_dir,
            "max_forces": max_forces,
            "scf_steps": scf_steps,
            "final_energy": final_energy,
            "error_message": storable(error_message),
            "wall_time": wall_time,
            "n_cores": n_cores,
        }
        values = {name: value for name, value in given.items() if value is not None}
        with self._transaction() as db:
            return (
                db.execute(
                    f"UPDATE structures SET {''.join(f'{name} = ?, ' for name in values)}"
                    " updated_at = CURRENT_TIMESTAMP WHERE id = ?",
                    (*values.values(), structure_id),
                ).rowcount
                == 1
            )

    @staticmethod
    def _set_status(
        db: sqlite3.Connection, ids: Sequence[int], status: Status, error_message: str | None
    ) -> int:
        these = f"s.id IN ({marks(ids)})"
        failed = status in _FAILED
        if status is Status.RUNNING:
            # It is tried again: what failed before counts, as it does with a claim.
            count_failures(db, BATCH_BY_HAND, f"{these} AND s.status IN ('failed', 'timeout')", ids)
        if not failed:
            # A failed structure that is said to be timed out, or so again, failed once.
            mark_undone(db, f"{these} AND s.status != ?", (*ids, status))
        else:
            mark_undone(db, f"{these} AND s.status NOT IN ('failed', 'timeout')", ids)
        message = storable(error_message)
        text = "COALESCE(?, error_message)" if failed else "?"
        found = db.execute(
            f"UPDATE structures SET status = ?, error_message = {text}, updated_at = CURRENT_TIMESTAMP"
            + ("" if failed else "".join(f", {_cleared(name, status)}" for name in _RESULTS))
            + f" WHERE id IN ({marks(ids)})",
            (status, message, *ids),
        ).rowcount
        if failed:
            # Its attempt keeps the numbers; the structure's columns hold results only.
            adopt_failures(db, BATCH_BY_HAND, these, ids)
            db.execute(f"UPDATE structures SET {NO_RESULT} WHERE id IN ({marks(ids)})", tuple(ids))
        return found

    @staticmethod
    def _count_now(db: sqlite3.Connection, structure_id: int, status: Status) -> None:
        if status in _FAILED:
            count_failures(db, BATCH_BY_HAND, "s.id = ?", (structure_id,))
        else:
            db.execute(
                "UPDATE structures SET fail_count = COALESCE(fail_count, 0) + 1 WHERE id = ?", (structure_id,)
            )


_RESULTS: Final = ("final_energy", "max_forces", "scf_steps", "wall_time", "n_cores")


def _cleared(name: str, status: Status) -> str:
    """Keep a result column with the status ``completed``, and where the status stays as it was."""
    if status is Status.COMPLETED:
        return f"{name} = {name}"
    return f"{name} = CASE WHEN status = '{status}' THEN {name} END"


def storable(text: str | None) -> str | None:
    """What no UTF-8 can hold must not cost the change beside it."""
    return None if text is None else text.encode(errors="replace").decode()
