"""Failures of Dagster's storage during a run: the folder is removed, the disk is full, the server does not answer.

The ledger does not depend on this storage. So a batch ends in order without Dagster, and the user gets one line.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from dagster import DagsterInstance, DagsterRun, EventLogEntry
from sqlalchemy.exc import SQLAlchemyError

from oact_dagster.attempts.full_disk import no_space_in, why_full
from oact_dagster.defs.dagster_internals import intercept
from oact_dagster.errors import OactError

_FILES: Final = ("dagster.yaml", "history/runs.db", "history/runs/index.db", "schedules/schedules.db")
"""Files of an instance; with PostgreSQL only the first exists."""

_GUARD: Final = "_oact_guard"
"""Attribute of an instance that holds its guard."""


class StorageError(OactError):
    """Dagster's storage cannot be used; the text is one line that says where, why and what to do."""


class InstanceFolder:
    """The folder of a Dagster instance, and the files that it held when this object was made."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._files = [file for name in _FILES if (file := home / name).exists()]

    def is_gone(self) -> bool:
        """Whether the folder, or one of its files, has been removed."""
        return not self.home.is_dir() or not all(file.exists() for file in self._files)

    def is_full(self, error: BaseException) -> bool:
        """Whether an error comes from a full disk."""
        full = no_space_in(error) is not None or "disk is full" in str(error)
        return full or bool(why_full(self.home))

    def met(self, error: BaseException) -> bool:
        """Whether an error comes from the storage in this folder."""
        postgres = type(error).__module__.startswith("dagster_postgres")
        return (
            postgres or isinstance(error, SQLAlchemyError) or no_space_in(error) is not None or self.is_gone()
        )

    def explain(self, error: BaseException) -> str:
        """Message for the user about an error of the storage, in one line."""
        if self.is_gone():
            return (
                f"{self.home}: Dagster's folder was removed while it was in use; the ledger has all results: run again"
                " to show them in Dagster"
            )
        if self.is_full(error):
            problem = "cannot be written: no space left on its disk; make room and run again"
        else:
            why = " ".join(str(getattr(error, "orig", None) or error).partition("\n")[0].split())
            problem = f"cannot be used: {why}; run again when it works"
        return f"{self.home}: Dagster's storage {problem}"


class StorageGuard:
    """Lets a run go on without Dagster's storage: after the first write that fails, Dagster writes nothing more.

    Args:
        instance: two of its methods are replaced; other objects of the same instance stay as they are.
    """

    def __init__(self, instance: DagsterInstance) -> None:
        self.folder = InstanceFolder(Path(instance.root_directory))
        self.lost = ""
        """Message for the user once the storage is lost, in one line; else empty."""
        self._then: list[Callable[[], None]] = []
        self._thread = threading.get_ident()
        self._runs: dict[str, DagsterRun] = {}
        self._write, self._read_run = instance.handle_new_event, instance.get_run_by_id
        intercept(instance, self._handle_new_event, self._get_run_by_id)

    def then(self, run: DagsterRun, call: Callable[[], None]) -> None:
        """Call ``call`` when the storage is lost, in the thread that made the guard.

        Args:
            run: Dagster's later look-ups of this run get this object.
            call: ends the run.
        """
        self._runs[run.run_id] = run
        self._then.append(call)

    def lose(self, error: Exception) -> None:
        """Do without the storage, which raised ``error``, from now on."""
        if not self.lost:
            self.lost = self.folder.explain(error)
            for call in self._then:
                call()

    def _handle_new_event(self, event: EventLogEntry, **more: Any) -> None:
        if self.lost:
            return
        try:
            self._write(event, **more)
        except Exception as error:
            if threading.get_ident() == self._thread and self._matters(event, error):
                self.lose(error)

    def _matters(self, event: EventLogEntry, error: Exception) -> bool:
        """Whether a failed write means more than the loss of a log line in a busy storage."""
        return event.dagster_event is not None or self.folder.is_gone() or self.folder.is_full(error)

    def _get_run_by_id(self, run_id: str) -> DagsterRun | None:
        """Look up a run, as Dagster does when the run ends."""
        try:
            return self._read_run(run_id)
        except Exception:
            if not self.lost:
                raise
            return self._runs.get(run_id)


def guarded(instance: DagsterInstance) -> StorageGuard:
    """The instance's only guard, made at the first call."""
    found = instance.__dict__.get(_GUARD)
    if not isinstance(found, StorageGuard):
        instance.__dict__[_GUARD] = found = StorageGuard(instance)
    return found


@contextmanager
def storage_errors(home: Path) -> Iterator[None]:
    """Raise errors of the storage in ``home`` as a :class:`StorageError` of one line; others pass unchanged."""
    folder = InstanceFolder(home)
    try:
        yield
    except Exception as error:
        if not folder.met(error):
            raise
        raise StorageError(folder.explain(error)) from None
