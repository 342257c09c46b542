"""Our errors: what a user, a site or a file has to mend.

The text of each is one line that says what is wrong, where, and what would be right; `oact` shows it without a
traceback. The whole tree, with the class of the standard library that an error is besides::

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

Those that one room alone raises and catches are defined there. What a payload imports has errors of its own, which
never leave it: the payload reaches nothing that it does not need.
"""

from pathlib import Path
from typing import ClassVar


class OactError(Exception):
    """The base of all errors of this package."""


class CampaignError(OactError, ValueError):
    """A campaign's settings are missing or wrong.

    Attributes:
        problem: The text without the file that it begins with.
    """

    def __init__(self, problem: str, file: Path | None = None) -> None:
        """Take the text, and the file that it is to begin with."""
        super().__init__(problem if file is None else f"{file}: {problem}")
        self.problem = problem


class CsvError(OactError, ValueError):
    """A CSV cannot be read; the text names the file and the line."""


class EngineError(OactError):
    """The engine cannot be run."""


class IntakeRefused(OactError, ValueError):  # noqa: N818 - it says what happened to the CSV
    """A CSV is refused whole."""


class LauncherError(OactError):
    """Jobs cannot be run as asked."""


class NoAnswerError(OactError):
    """The scheduler did not answer: nothing is known. The text says what it did instead."""


class SelectionError(OactError, ValueError):
    """A selection of structures cannot be read."""


class SetupError(OactError):
    """A user's function raised, or did what it must not."""


class UnfitError(OactError, ValueError):
    """A structure, or its settings, of which no calculation can be made.

    Attributes:
        kind: The class of the problem in a few words, by which many refusals are counted, such as
            ``electron parity``.
    """

    KIND: ClassVar[str] = "unfit"

    def __init__(self, message: str, *, kind: str | None = None) -> None:
        """Take the one line, and the class of the problem."""
        super().__init__(message)
        self.kind = self.KIND if kind is None else kind


class GeometryError(UnfitError):
    """A geometry that cannot be one."""

    KIND = "unreadable geometry"


class InputRefused(UnfitError):  # noqa: N818 - it says what happened, and it is what users read
    """Settings, or settings and a structure, from which no input is written."""

    KIND = "impossible setting"


class StructureError(UnfitError):
    """A charge or a number of unpaired electrons that the atoms cannot have."""

    KIND = "electrons that do not fit the atoms"
