"""A workflow's database, as scripts use it."""

import errno
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from oact_dagster.ledger import by_hand
from oact_dagster.ledger.states import FAILED_STATUSES, JobRecord, Status
from oact_dagster.ledger.store import Ledger

if TYPE_CHECKING:
    import pandas


class ArchitectorWorkflow:
    """An open workflow. Jobs are named by their ``id``. Energies in Eh, forces (gradients) in Eh/bohr, times in s.

    Opening a file of the old tool brings it up to date; that tool can still read it.

    Args:
        db_path: the database.
        timeout: how long to wait for a locked file, s.

    Raises:
        FileNotFoundError: there is no such file.
        LedgerError: it cannot be used.
    """

    def __init__(self, db_path: str | Path, timeout: float = 30.0) -> None:
        self.db_path = Path(db_path).expanduser()
        if not self.db_path.is_file():
            raise FileNotFoundError(
                errno.ENOENT, "no such workflow; create_workflow_db makes one", str(self.db_path)
            )
        self.ledger = Ledger(self.db_path, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; afterwards the file alone can be copied."""
        self.ledger.close()

    # --- reading ------------------------------------------------------------------------------------------------

    def get_jobs_by_status(
        self, status: Status | str | Iterable[Status | str] | None = None
    ) -> list[JobRecord]:
        """The jobs with one of these statuses, by ``id``; all jobs if none is given.

        ``READY`` also gives ``to_run``: scripts use it to ask for jobs that can be submitted, and new jobs are
        ``to_run``. ``TO_RUN`` gives only that.
        """
        if status is None:
            return list(self.ledger.structures.stored_by_status(None))
        wanted = [_status(one) for one in ([status] if isinstance(status, str) else status)]
        if Status.READY in wanted:
            wanted.append(Status.TO_RUN)
        return list(self.ledger.structures.stored_by_status(wanted))

    def get_jobs_by_fail_count(self, min_fail_count: int = 1) -> list[JobRecord]:
        """The jobs with at least this many failures, most failures first."""
        return self.ledger.structures.stored_by_fail_count(int(min_fail_count))

    def count_by_status(self) -> dict[Status, int]:
        """The number of jobs with each status that occurs, as stored: ``ready`` separate from ``to_run``."""
        return self.ledger.figures.count_by_status()

    def get_summary(self) -> "pandas.DataFrame":
        """A table with the columns ``status``, ``count`` and ``percent``, and a row for each status that occurs."""
        import pandas

        counts = self.count_by_status()
        total = sum(counts.values())
        rows = [(str(one), counts[one], 100.0 * counts[one] / total) for one in Status if counts.get(one)]
        return pandas.DataFrame(rows, columns=["status", "count", "percent"])

    # --- writing ------------------------------------------------------------------------------------------------

    def update_status(
        self,
        job_id: int,
        new_status: Status | str,
        error_message: str | None = None,
        increment_fail_count: bool = False,
    ) -> None:
        """Set a job's status.

        Args:
            job_id: which job.
            new_status: ``ready`` is written as ``to_run``, which means the same.
            error_message: message of a failure; None keeps the present one.
            increment_fail_count: count the failure now; otherwise the next reset counts it. It counts once in any case.

        Raises:
            ValueError: the job or the status does not exist.
        """
        done = by_hand.update_status(
            self.ledger,
            int(job_id),
            _written(new_status),
            error_message,
            increment_fail_count=increment_fail_count,
        )
        if not done:
            raise ValueError(self._unknown([int(job_id)]))

    def update_status_bulk(self, job_ids: Iterable[int], new_status: Status | str) -> None:
        """Set the status of many jobs, all or none.

        Raises:
            ValueError: a job or the status does not exist; nothing was changed.
        """
        ids = [int(job_id) for job_id in job_ids]
        status = _written(new_status)
        known = self.ledger.structures.stored(ids)
        unknown = [job_id for job_id in ids if job_id not in known]
        if unknown:
            raise ValueError(self._unknown(unknown))
        by_hand.update_status_bulk(self.ledger, ids, status)

    def mark_jobs_as_running(self, job_ids: Iterable[int]) -> None:
        """Set the status of many jobs to ``running``, all or none.

        Raises:
            ValueError: a job does not exist; nothing was changed.
        """
        self.update_status_bulk(job_ids, Status.RUNNING)

    def update_job_metrics(
        self,
        job_id: int,
        job_dir: str | Path | None = None,
        max_forces: float | None = None,
        scf_steps: int | None = None,
        final_energy: float | None = None,
        error_message: str | None = None,
        wall_time: float | None = None,
        n_cores: int | None = None,
    ) -> None:
        """Set some of a job's columns; None keeps the present value.

        Raises:
            ValueError: the job does not exist.
        """
        done = by_hand.update_metrics(
            self.ledger,
            int(job_id),
            job_dir=None if job_dir is None else str(job_dir),
            max_forces=None if max_forces is None else float(max_forces),
            scf_steps=None if scf_steps is None else int(scf_steps),
            final_energy=None if final_energy is None else float(final_energy),
            error_message=error_message,
            wall_time=None if wall_time is None else float(wall_time),
            n_cores=None if n_cores is None else int(n_cores),
        )
        if not done:
            raise ValueError(self._unknown([int(job_id)]))

    def reset_failed_jobs(self, max_fail_count: int | None = None, include_timeout: bool = False) -> int:
        """Set failed jobs to ``to_run`` and clear their messages.

        Every failure counts once, whoever found it: this does not count a failure again that was counted when it was
        recorded. So ``max_fail_count=3`` gives three attempts in all.

        Args:
            max_fail_count: leave jobs as they are that have failed at least this often.
            include_timeout: reset timed-out jobs, too.

        Returns:
            The number of jobs reset.
        """
        statuses = FAILED_STATUSES if include_timeout else [Status.FAILED]
        return self.ledger.reset(statuses, max_fail_count)

    def reset_timeout_jobs(self, max_fail_count: int | None = None) -> int:
        """Set timed-out jobs to ``to_run``, as :meth:`reset_failed_jobs` does with failed ones."""
        return self.ledger.reset([Status.TIMEOUT], max_fail_count)

    def _unknown(self, ids: Sequence[int]) -> str:
        shown = ", ".join(map(str, ids[:10])) + (", ..." if len(ids) > 10 else "")
        return f"{self.db_path}: there is no job with the id {shown}; nothing was changed"


def _status(given: Status | str) -> Status:
    try:
        return Status(given)
    except ValueError:
        raise ValueError(f"no such status {given!r}; there are {', '.join(Status)}") from None


def _written(given: Status | str) -> Status:
    """The status to write: only old files keep ``ready``."""
    status = _status(given)
    return Status.TO_RUN if status is Status.READY else status
