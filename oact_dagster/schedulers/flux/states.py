"""Translate Flux's records of jobs."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from oact_dagster.schedulers.jobs import Cause, JobCosts, JobState, Phase, not_started

_DIGITS: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

_QUEUED: Final = frozenset({"NEW", "DEPEND", "PRIORITY", "SCHED"})
_CAUSES: Final = {"TIMEOUT": Cause.TIME_LIMIT, "CANCELED": Cause.CANCELLED}
HELD: Final = "urgency 0"
"""Reason of a held job; see flux-submit(1)."""
_NODE_FAILED: Final = ("node failure", "lost contact", "broker")
_FAILED_NODE: Final = re.compile(r"node failure on (\S+)")


def read_jobs(text: str) -> dict[str, Mapping[str, Any]]:
    """Read the output of ``flux jobs --json``: the jobs by id.

    Raises:
        ValueError: the text is not such an output.
    """
    answer = json.loads(text)
    if not isinstance(answer, dict):
        raise ValueError("not a list of jobs")
    # For a single id, Flux prints the job itself instead of a list.
    jobs = answer.get("jobs", [answer] if "id" in answer else [])
    return {f58(int(job["id"])): job for job in jobs}


def job_state(job: Mapping[str, Any]) -> JobState:
    """The state of a job. An unknown state counts as running, which decides nothing."""
    state = str(job.get("state", ""))
    if state in _QUEUED:
        return JobState(Phase.QUEUED, reason=HELD if job.get("urgency") == 0 else "")
    if state != "INACTIVE":
        return JobState(Phase.RUNNING)
    result = str(job.get("result") or job.get("status") or "")
    exception = job.get("exception")
    told = exception if isinstance(exception, dict) and exception.get("occurred") else {}
    note, kind = str(told.get("note", "")), str(told.get("type", ""))
    cause = _CAUSES.get(result, Cause.ITSELF)
    if result == "FAILED" and kind == "exec" and note.startswith(_NODE_FAILED):
        cause = Cause.NODE_FAILED
    if result == "FAILED" and kind == "alloc":
        # Flux accepted the job, and then found that no node has the resources.
        return not_started(note or kind)
    code = job.get("returncode")
    more = [f"{kind}: {note}" if note else kind] if kind and cause is not Cause.CANCELLED else []
    more += [f"exit code {code}"] if code not in (None, "", 0) and not more else []
    final = f"{result} ({', '.join(more)})" if more else result
    return JobState(Phase.ENDED, final, cause, costs=JobCosts(node=_node(job, note)))


def _node(job: Mapping[str, Any], note: str) -> str | None:
    """The node of a job, as Flux names it; None if the job has none, or several."""
    # Jobs that a dead node had not yet started have no list of nodes, only a note.
    failed = _FAILED_NODE.search(note)
    node = failed[1] if failed is not None else str(job.get("nodelist") or "")
    return node if node and not re.search(r"[\[,]", node) else None


def f58(job_id: int) -> str:
    """A job id in the ASCII form of base 58, as stored in the ledger (``fAPQFGw9`` for 357321146368)."""
    digits = ""
    while True:
        job_id, digit = divmod(job_id, 58)
        digits = _DIGITS[digit] + digits
        if not job_id:
            return f"f{digits}"
