"""What sacct prints of jobs that have ended: how, and what they took."""

from dataclasses import replace
from typing import Final

from oact_dagster.schedulers.jobs import JobCosts, JobState, Phase
from oact_dagster.schedulers.protocol import ArrayNames, is_ours
from oact_dagster.schedulers.slurm.states import job_state
from oact_dagster.schedulers.slurm.times import megabytes_of, seconds_of

RECORD: Final = "JobID,State,ExitCode,Elapsed,TotalCPU,MaxRSS,NodeList,JobName"
"""The fields to ask for."""
_FIELDS: Final = RECORD.count(",")
_BATCH: Final = ".batch"
_NO_NODE: Final = ("", "None assigned")


def read_records(text: str, names: ArrayNames) -> dict[str, JobState]:
    """The ended ones of jobs.

    Args:
        text: what ``sacct -n -P`` printed of the fields in :data:`RECORD`: a line for each job, and for each of its
            steps. The memory is told of steps only: the batch step holds the payload with all that it started.
        names: those that were asked for.
    """
    found: dict[str, JobState] = {}
    memory: dict[str, float | None] = {}
    for line in text.splitlines():
        job_id, state, exit_code, elapsed, cpu, rss, nodes, name = (
            *line.split("|", _FIELDS),
            *[""] * _FIELDS,
        )[: _FIELDS + 1]
        if job_id.endswith(_BATCH):
            memory[job_id.removesuffix(_BATCH)] = megabytes_of(rss)
            continue
        judged = job_state(state, exit_code=exit_code)
        # A record that was never closed says running for ever.
        if judged.phase is Phase.ENDED and job_id in names and is_ours(name, names[job_id]):
            costs = JobCosts(seconds_of(elapsed), seconds_of(cpu), None, None if nodes in _NO_NODE else nodes)
            found[job_id] = replace(judged, costs=costs)
    # Where Slurm gathers no figures of processes it says 0, or nothing.
    return {
        job_id: replace(
            state,
            costs=replace(
                state.costs, cpu_time_s=state.costs.cpu_time_s or None, max_rss_mb=memory.get(job_id) or None
            ),
        )
        for job_id, state in found.items()
    }
