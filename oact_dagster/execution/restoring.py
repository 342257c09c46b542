"""An earlier result of the very input that is to be computed."""

from collections.abc import Sequence
from pathlib import Path

from oact_dagster.execution.verdict import Evidence
from oact_dagster.launchers.attempt_files import read_spec
from oact_dagster.launchers.protocol import JobState, Phase
from oact_dagster.ledger.states import AttemptRecord, Outcome
from oact_dagster.orca.outputs import read_output


def stored_result(attempts: Sequence[AttemptRecord], settings_hash: str) -> AttemptRecord | None:
    """The newest attempt that computed a structure with these settings, and whose output is still there.

    A structure that has such a result and was set back to be run costs nothing. The output is read again: it must be
    in the job folder, be this attempt's own, have ended normally, and hold the energy that the ledger has.

    Args:
        attempts: of one structure.
        settings_hash: of the campaign's present settings.
    """
    for attempt in reversed(attempts):
        if attempt.outcome is not Outcome.COMPLETED or attempt.settings_hash != settings_hash:
            continue
        if attempt.job_dir is None:
            continue
        folder = Path(attempt.job_dir)
        spec = read_spec(folder)
        if spec is None or spec.token != attempt.token:
            # A later attempt has taken its place: whoever looks into the job folder would find that one's output.
            continue
        output = read_output(folder)
        evidence = Evidence(attempt.token, None, output, JobState(Phase.ENDED))
        if evidence.good and output.final_energy == attempt.result.get("final_energy"):
            return attempt
    return None
