"""Read sacct's records of ended jobs: their final states and costs."""

from dataclasses import replace
from typing import Final

from oact_dagster.schedulers.jobs import JobCosts, JobState, Phase
from oact_dagster.schedulers.protocol import ArrayNames, is_ours
from oact_dagster.schedulers.slurm.states import job_state
from oact_dagster.schedulers.slurm.times import megabytes_of, seconds_of

RECORD: Final = "JobID,State,ExitCode,Elapsed,TotalCPU,MaxRSS,NodeList,JobName"
"""The fields to request."""
_FIELDS: Final = RECORD.count(",")
_BATCH: Final = ".batch"
_NO_NODE: Final = ("", "None assigned")


def read_records(text: str, names: ArrayNames) -> dict[str, JobState]:
    """The states of those jobs that have ended.

    Args:
        text: the output of ``sacct -n -P`` with the fields of :data:`RECORD`: a line for each job and each of its
            steps. Only steps have a memory; the batch step is the payload with all its child processes.
        names: the jobs that were requested.
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
        ended = job_state(state, exit_code=exit_code)
        # A record that was never closed stays "running" for ever.
        if ended.phase is Phase.ENDED and job_id in names and is_ours(name, names[job_id]):
            # A Slurm that gathers no process data reports 0 or nothing.
            cpu_time_s = seconds_of(cpu) or None
            costs = JobCosts(seconds_of(elapsed), cpu_time_s, None, None if nodes in _NO_NODE else nodes)
            found[job_id] = replace(ended, costs=costs)
    return {
        job_id: replace(state, costs=replace(state.costs, max_rss_mb=memory.get(job_id) or None))
        for job_id, state in found.items()
    }
