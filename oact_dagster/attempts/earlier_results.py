"""Earlier results of exactly the input that is to be computed."""

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
    """The job folder that the files belong in."""

    def bring_back(self) -> None:
        """Give the folder its old name back; the folder of a later attempt is renamed.

        Raises:
            OSError: A folder cannot be renamed.
        """
        if self.folder != self.job_dir:
            retire(self.job_dir)
            self.folder.rename(self.job_dir)


def stored_result(
    attempts: Sequence[AttemptRecord], settings_hash: str, setup: Callable[[], str | None]
) -> StoredResult | None:
    """Return the newest result of a structure with these settings whose output is still there, or None.

    Such a structure need not run again after it was reset, or after the settings went back to what they were. The
    output is read again: it must be the attempt's own, have ended normally, and hold the energy in the ledger. The
    string that ``setup`` (``setup_func``) returns must match too; it is called only if everything else matches.
    """
    for attempt in reversed(attempts):
        same_settings = attempt.outcome is Outcome.COMPLETED and attempt.settings_hash == settings_hash
        if not same_settings or attempt.job_dir is None:
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
