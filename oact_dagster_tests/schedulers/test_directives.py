"""The script in a job folder and a submit ask the scheduler for the same."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from oact_dagster.schedulers.flux.commands import Flux
from oact_dagster.schedulers.job_array import JobArray, ResourceRequest
from oact_dagster.schedulers.protocol import JobOptions
from oact_dagster.schedulers.slurm.commands import Slurm

LONG = {"-N": "--nodes", "-t": "--time", "-q": "--queue", "-B": "--bank"}
OWN = {
    "--job-name", "--comment", "--array", "--chdir", "--output", "-o", "-e", "--parsable", "--cc",
}  # fmt: skip
"""What a job is called, and where it writes: not what it asks for."""

OPTIONS = [
    JobOptions(),
    JobOptions(
        "pbatch", "long", "my bank", "big&fast", ["--exclusive", "--gres=gpu:1"], signal_before_limit_s=60.0
    ),
    JobOptions(constraint="big"),
]
REQUESTS = [
    ResourceRequest(1, 1, None),
    ResourceRequest(16, 2000, 64000, avoid=("n1", "n2")),
]


def asked_for(words: list[str], *, spaced: bool) -> Mapping[str, str]:
    """Options by their long names, with their values, which may be words of their own."""
    found = {}
    while words and words[0].startswith("-"):
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            name, value = word[:2], word[2:]
        if spaced and not equals and not value and words:
            value = words.pop(0)
        found[LONG.get(name, name)] = value
    for name in OWN:
        found.pop(name, None)
    if "-n" in found:
        # flux batch counts slots of one core, flux submit tasks of -c cores.
        found["cores"] = str(int(found.pop("-n")) * int(found.pop("-c", "1")))
    return found


def in_script(lines: list[str], mark: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        words = shlex.split(line.removeprefix(mark))
        found |= asked_for(words, spaced=True)
        assert not words, line
    return found


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize(("scheduler", "mark"), [(Slurm, "#SBATCH "), (Flux, "#flux: ")])
def test_script_and_submit_ask_for_the_same(
    tmp_path: Path, scheduler: type[Slurm | Flux], mark: str, request_: ResourceRequest, options: JobOptions
) -> None:
    client = scheduler(options)
    array = JobArray(tmp_path, ["token"], [tmp_path / "job_0"], request_)
    words = client.submit_command(array)[1:]
    submit = asked_for([word for word in words if word != "submit"], spaced=False)
    lines = list(client.script_lines(tmp_path / "job_0", request_))
    assert in_script(lines, mark) == submit
    assert all(host in "".join(lines) for host in request_.avoid)


def test_a_value_that_begins_with_a_dash_is_no_other_option(tmp_path: Path) -> None:
    lines = Flux(JobOptions()).script_lines(tmp_path, REQUESTS[1])
    (line,) = [line for line in lines if re.search("requires", line)]
    assert line == "#flux: --requires='-host:n1 -host:n2'"
