"""Events about structures without running them: their inputs, and results that already exist."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from oact_dagster.attempts.events import Completed, Event, Failed, InputWritten, NotRun
from oact_dagster.attempts.job_folder import FolderWriter
from oact_dagster.attempts.job_layout import JobLayout
from oact_dagster.attempts.setup_hook import load_setup_func
from oact_dagster.errors import SetupError
from oact_dagster.ledger.reader import LedgerReader
from oact_dagster.ledger.states import AttemptRecord, Status, StructureRecord
from oact_dagster.ledger.store import Ledger
from oact_dagster.orca.failures import FailureClass
from oact_dagster.settings.campaign import Campaign


def write_inputs(campaign: Campaign, ledger: Ledger, orig_indices: Sequence[int]) -> Iterator[Event]:
    """Write the inputs of structures that have not run, for inspection.

    An existing job folder is left alone, since its input is the one that was computed.

    Yields:
        InputWritten, Failed or NotRun for each structure. A failure here counts against no budget.

    Raises:
        CampaignError: The function named by ``setup_func`` does not exist.
    """
    writer = FolderWriter(campaign, JobLayout.of(campaign, ledger), load_setup_func(campaign))
    for structure, attempt in _records(ledger, orig_indices):
        if isinstance(structure, int):
            yield NotRun(structure, "is not in the ledger")
        elif structure.job_dir is not None and Path(structure.job_dir).is_dir():
            yield InputWritten(
                structure,
                attempt.input_hash if attempt is not None else None,
                Path(structure.job_dir),
                attempt.number if attempt is not None else None,
                reused=True,
                settings_hash=attempt.settings_hash if attempt is not None else None,
                remedy=attempt.remedy if attempt is not None else None,
            )
        else:
            try:
                made = writer.input_only(structure)
            except OSError as error:
                where = f"{error.filename or ''}: {error.strerror or error}"
                message = f"the job folder could not be written: {where}"
                yield Failed(structure, FailureClass.NOT_WRITTEN, message, "", ())
            except SetupError as error:
                yield Failed(structure, FailureClass.SETUP_FAILED, str(error), "", ())
            except ValueError as error:
                yield Failed(structure, FailureClass.INPUT_REFUSED, str(error), "", ())
            else:
                yield InputWritten(structure, made.input_hash, made.folder, None)


def stored_results(ledger: Ledger, orig_indices: Sequence[int]) -> Iterator[Event]:
    """Yield Completed for each structure that has a result, and NotRun for each other one."""
    for structure, attempt in _records(ledger, orig_indices):
        if isinstance(structure, int):
            yield NotRun(structure, "is not in the ledger")
        elif structure.status is Status.COMPLETED:
            tried = ledger.history.attempts(structure.orig_index) if attempt and attempt.number > 1 else ()
            yield Completed(structure, attempt, reused=True, attempts=tried)
        else:
            yield NotRun(
                structure.orig_index,
                f"has no result yet (it is {structure.status}); materialize orca_results",
            )


def _records(
    ledger: Ledger, orig_indices: Sequence[int], at_once: int = 500
) -> Iterator[tuple[StructureRecord | int, AttemptRecord | None]]:
    """Yield each structure with its good attempt, or only its index if the ledger does not have it."""
    for start in range(0, len(orig_indices), at_once):
        chunk = orig_indices[start : start + at_once]
        structures = ledger.structures.of(chunk)
        attempts = ledger.history.good_attempts(chunk)
        for index in chunk:
            yield structures.get(index, index), attempts.get(index)


def earlier_attempts(
    ledger: LedgerReader, good: Mapping[int, AttemptRecord]
) -> dict[int, Sequence[AttemptRecord]]:
    """Return all attempts of structures whose ``good`` attempt was not the first, by ``orig_index``."""
    again = [index for index, attempt in good.items() if attempt.number > 1]
    return dict(ledger.history.attempts_of(again)) if again else {}
