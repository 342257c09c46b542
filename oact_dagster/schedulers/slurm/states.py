"""Translate Slurm's words for a job's state and its reasons to wait."""

from typing import Final

from oact_dagster.schedulers.jobs import Cause, JobState, Phase

_QUEUED: Final = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
)
_ENDED: Final = {
    "COMPLETED": Cause.ITSELF,
    "FAILED": Cause.ITSELF,
    "TIMEOUT": Cause.TIME_LIMIT,
    "DEADLINE": Cause.TIME_LIMIT,
    "OUT_OF_MEMORY": Cause.OUT_OF_MEMORY,
    "NODE_FAIL": Cause.NODE_FAILED,
    "BOOT_FAIL": Cause.NODE_FAILED,
    "LAUNCH_FAILED": Cause.NODE_FAILED,
    "PREEMPTED": Cause.PREEMPTED,
    "CANCELLED": Cause.CANCELLED,
    "REVOKED": Cause.CANCELLED,
}
# An ended job often still has the reason for which it waited.
_SAYS_NOTHING: Final = frozenset({"", "None", "(null)", "Priority", "Resources"})


def job_state(word: str, reason: str = "", exit_code: str = "") -> JobState:
    """The state for Slurm's word. An unknown word counts as running, which decides nothing.

    Args:
        word: from squeue or sacct: ``TIMEOUT``, ``CANCELLED by 1000``.
        reason: from squeue.
        exit_code: from sacct: ``7:0``.
    """
    state = word.split()[0].rstrip("+") if word.split() else ""
    if state in _QUEUED:
        return JobState(Phase.QUEUED, reason="" if reason in _SAYS_NOTHING else reason)
    if state not in _ENDED:
        return JobState(Phase.RUNNING)
    more = [reason] if reason not in _SAYS_NOTHING and state != "CANCELLED" else []
    more += [f"exit code {exit_code}"] if exit_code not in ("", "0:0") else []
    return JobState(Phase.ENDED, f"{word} ({', '.join(more)})" if more else word, _ENDED[state])


_PASSES: Final = frozenset(
    {
        "BeginTime",
        "Cleaning",
        "Dependency",
        "JobArrayTaskLimit",
        "Licenses",
        "NodeDown",
        "None",
        "Priority",
        "Prolog",
        "Resources",
    }
)
_NEEDS: Final = {
    "PartitionTimeLimit": "the jobs' time limit is above the queue's: lower launcher.n_hours, or choose another queue",
    "PartitionNodeLimit": "the jobs ask for more nodes than the queue gives",
    "PartitionConfig": "the queue cannot give what the jobs ask for: cores, memory, nodes or time",
    "PartitionDown": "the queue is down",
    "PartitionInactive": "the queue is inactive",
    "BadConstraints": "no node can give what the jobs ask for",
    "DependencyNeverSatisfied": "the jobs never start",
    "InvalidAccount": "launcher.allocation is not accepted",
    "InvalidQOS": "launcher.qos is not accepted",
    "JobHeldUser": "they are held: `scontrol release` lets them go",
    "JobHeldAdmin": "an administrator holds them",
    "ReqNodeNotAvail": "the nodes are reserved or down; a maintenance may be near",
}


def why_pending(reason: str) -> str | None:
    """What a user should know about a reason to wait; None for one that passes by itself."""
    word = reason.split(",")[0].split("(")[0].strip()
    # Under a limit on running jobs, the next job starts when another ends.
    if word in _PASSES or (word.endswith("Limit") and "PerJob" not in word and word not in _NEEDS):
        return None
    return _NEEDS.get(word, "Slurm's own words; they may never start")
