"""An open ledger: reading it by subject."""

from types import TracebackType
from typing import Self

from oact_dagster.ledger.batches import Batches
from oact_dagster.ledger.figures import Figures
from oact_dagster.ledger.health import Health
from oact_dagster.ledger.history import History
from oact_dagster.ledger.intake import Intake
from oact_dagster.ledger.ledger_file import LedgerFile
from oact_dagster.ledger.quality import ResultQuality
from oact_dagster.ledger.queue import Queue
from oact_dagster.ledger.structures import Structures


class LedgerReader:
    """A ledger open for reading, with an attribute for each subject."""

    def __init__(self, file: LedgerFile) -> None:
        self.path = file.path
        self.file = file
        self.structures = Structures(file)
        self.intake = Intake(file)
        self.history = History(file)
        self.batches = Batches(file)
        self.queue = Queue(file)
        self.figures = Figures(file)
        self.health = Health(file)
        self.quality = ResultQuality(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def meta(self, key: str) -> str | None:
        """A value of the table ``meta``, or None."""
        row = self.file.one("SELECT value FROM meta WHERE key = ?", (key,))
        return None if row is None else str(row[0])
