"""What sbatch's complaints mean: a refusal, a limit that passes, or an answer that was lost."""

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
    """What became of a submit that did not print a job id; what is not known to be a refusal may be a job."""
    if answer.returncode is None or answer.returncode <= 0:
        return Reply.UNCLEAR
    if _FULL.search(answer.stderr):
        return Reply.FULL
    return Reply.UNCLEAR if _LOST.search(answer.stderr) else Reply.REFUSED


def words_of(answer: Answer) -> str:
    """Slurm's own words, in one line."""
    lines = [_PREFIX.sub("", line.strip()) for line in answer.stderr.splitlines() if line.strip()]
    return "; ".join(dict.fromkeys(lines)) if lines else answer.told
