"""Our errors: problems that the user or the site has to fix.

The text of each is one line that says what is wrong, where, and what would be right; `oact` shows it without a
traceback. The whole tree, with the second base class in brackets::

    OactError
    ├── CampaignError (ValueError)
    ├── CsvError (ValueError)
    ├── EngineError
    ├── ExportError
    ├── FromLedgerRefused (ValueError)
    ├── InputError
    │   └── OxidationStateError
    ├── IntakeRefused (ValueError)
    ├── LauncherError
    ├── LedgerError
    ├── NoAnswerError
    ├── NotToldError
    ├── RefusedError
    ├── ReportError (ValueError)
    ├── ScfConvergenceError
    ├── SelectionError (ValueError)
    ├── SetupError
    ├── StorageError
    ├── TbliteError
    └── UnfitError (ValueError)
        ├── GeometryError
        ├── InputRefused
        └── StructureError

An error of one package alone is defined there. The modules that a payload imports have errors of
their own, which never leave them: the payload must not import more than it needs.
"""

from pathlib import Path
from typing import ClassVar


class OactError(Exception):
    """The base of all errors of this package."""


class CampaignError(OactError, ValueError):
    """A campaign's settings are missing or wrong.

    Attributes:
        problem: The text without the file at its beginning.
    """

    def __init__(self, problem: str, file: Path | None = None) -> None:
        super().__init__(problem if file is None else f"{file}: {problem}")
        self.problem = problem


class CsvError(OactError, ValueError):
    """A CSV cannot be read; the text names the file and the line."""


class EngineError(OactError):
    """The engine cannot be run."""


class IntakeRefused(OactError, ValueError):  # noqa: N818 - it says what happened to the CSV
    """The whole CSV is refused."""


class LauncherError(OactError):
    """Jobs cannot be run as asked."""


class LedgerError(OactError):
    """The ledger cannot be used as asked; the message is one line with the reason and the remedy."""


class NoAnswerError(OactError):
    """The scheduler did not answer, so nothing is known; the message says what happened instead."""


class SelectionError(OactError, ValueError):
    """A selection of structures cannot be read."""


class SetupError(OactError):
    """A user's function raised, or did something forbidden."""


class UnfitError(OactError, ValueError):
    """A structure, or its settings, from which no calculation can be made.

    Attributes:
        kind: The problem in a few words, such as ``electron parity``; refusals are counted by it.
    """

    KIND: ClassVar[str] = "unfit"

    def __init__(self, message: str, *, kind: str | None = None) -> None:
        super().__init__(message)
        self.kind = self.KIND if kind is None else kind


class GeometryError(UnfitError):
    """A geometry that cannot be read."""

    KIND = "unreadable geometry"


class InputRefused(UnfitError):  # noqa: N818 - it says what happened, and users read it
    """No input can be written from these settings, or for this structure with them."""

    KIND = "impossible setting"


class StructureError(UnfitError):
    """A charge or number of unpaired electrons that is impossible for the atoms."""

    KIND = "electrons that do not fit the atoms"
