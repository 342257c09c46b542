"""Interpret sbatch's errors: a refusal, a temporary limit, or a lost answer."""

import re
from typing import Final

from oact_dagster.schedulers.command import Answer
from oact_dagster.schedulers.protocol import Reply

_FULL: Final = re.compile(
    r"SubmitJob|Submit\w*Limit|temporarily unable to accept|Resource temporarily unavailable", re.IGNORECASE
)
_LOST: Final = re.compile(
    r"timed out|Unable to contact|Zero Bytes|Connection|connect failure|Transport endpoint|Unexpected message"
    r"|communication|authentication|Unspecified error|Slurmctld|controller",
    re.IGNORECASE,
)
_PREFIX: Final = re.compile(r"^(?:\w+: )?(?:error: )?(?:Batch job submission failed: )?")


def reply_of(answer: Answer) -> Reply:
    """The outcome of a submit that printed no job id. Unless it is a known refusal, a job may exist."""
    if answer.returncode is None or answer.returncode <= 0:
        return Reply.UNCLEAR
    if _FULL.search(answer.stderr):
        return Reply.FULL
    return Reply.UNCLEAR if _LOST.search(answer.stderr) else Reply.REFUSED


def words_of(answer: Answer) -> str:
    """Slurm's own words, on one line."""
    lines = [_PREFIX.sub("", line.strip()) for line in answer.stderr.splitlines() if line.strip()]
    return "; ".join(dict.fromkeys(lines)) if lines else answer.told
