"""An earlier result of the very input that is to be computed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from oact_dagster.attempts.attempt_folders import attempt_folders, retire
from oact_dagster.attempts.next_attempt import SETUP
from oact_dagster.attempts.verdict import Evidence
from oact_dagster.ledger.states import AttemptRecord, Outcome
from oact_dagster.orca.outputs.reader import read_output
from oact_dagster.schedulers.jobs import JobState, Phase


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A result that need not be computed again."""

    attempt: AttemptRecord
    folder: Path
    """Where its files are now."""
    job_dir: Path
    """Where they belong."""

    def bring_back(self) -> None:
        """Give the folder its name again; that of a later attempt is renamed as a whole.

        Raises:
            OSError: it cannot be renamed.
        """
        if self.folder != self.job_dir:
            retire(self.job_dir)
            self.folder.rename(self.job_dir)


def stored_result(
    attempts: Sequence[AttemptRecord], settings_hash: str, setup: Callable[[], str | None]
) -> StoredResult | None:
    """The newest attempt that computed a structure with these settings, and whose output is still there.

    A structure that has such a result costs nothing when it is to be run again: because it was set back, or because
    the settings are what they were before. The output is read again: it must be this attempt's own, have ended
    normally, and hold the energy that the ledger has.

    Args:
        attempts: of one structure.
        settings_hash: of the campaign's present settings.
        setup: gives what the user's own function returns for the structure now, which counts, too; it is called only
            where all else is the same.
    """
    for attempt in reversed(attempts):
        if attempt.outcome is not Outcome.COMPLETED or attempt.settings_hash != settings_hash:
            continue
        if attempt.job_dir is None:
            continue
        job_dir = Path(attempt.job_dir)
        for folder in attempt_folders(job_dir, attempt.number, attempt.token):
            output = read_output(folder)
            evidence = Evidence(attempt.token, None, output, JobState(Phase.ENDED))
            if (
                evidence.good
                and output.final_energy == attempt.result.get("final_energy")
                and attempt.plan.get(SETUP) == setup()
            ):
                return StoredResult(attempt, folder, job_dir)
    return None
