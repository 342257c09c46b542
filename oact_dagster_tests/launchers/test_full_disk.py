"""A disk that fills up while a batch prepares and hands over: it costs no structure anything that had not begun.

Each batch runs in a process of its own, on a real disk that is filled at a certain call.
"""

import errno
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts.events import Completed
from oact_dagster.errors import LauncherError
from oact_dagster.launchers.attempt_files import OUTPUT_FILE
from oact_dagster.ledger.states import Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.schedulers.job_array import JobArray
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.batches import batch, settled
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.launchers.running import prepared
from oact_dagster_tests.mounts import make_room, small_disk
from oact_dagster_tests.schedulers.real_slurm import RealSlurm
from oact_dagster_tests.waiting import until

STRUCTURES = 12
FILES = -1
"""In place of the bytes that stay free: the disk takes no more files."""

# Ends as `oact run` does: what is for the user is one line.
FILLING = """
FILES = -1
import sys
from pathlib import Path
from oact_dagster.settings.campaign import load_campaign
from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.job_folder import FolderWriter
from oact_dagster.attempts.selection import BatchRequest
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.launchers.attempt_files import OUTPUT_FILE
from oact_dagster.schedulers.job_array import JobArray
from oact_dagster.errors import LauncherError
from oact_dagster.errors import LedgerError
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.mounts import fill, fill_with_files

campaign, structures, disk = load_campaign(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
when, owner, name, number = sys.argv[4].split()
leave = int(sys.argv[5])
owner = {"FolderWriter": FolderWriter, "JobArray": JobArray, "Ledger": Ledger}[owner]
real = vars(owner)[name]
calls = 0

def filling(*arguments, **more):
    global calls
    calls += 1
    if (when, calls) == ("before", int(number)):
        fill_it()
    done = getattr(real, "__func__", real)(*arguments, **more)
    if (when, calls) == ("after", int(number)):
        fill_it()
    return done

def fill_it():
    fill_with_files(disk) if leave == FILES else fill(disk, leave)

setattr(owner, name, classmethod(filling) if isinstance(real, classmethod) else filling)
with Ledger(campaign.ledger) as ledger:
    request = BatchRequest(range(structures))
    run = BatchRun(campaign, ledger, make_launcher(campaign), find_engine(campaign), request, "first")
    try:
        for event in run.run():
            pass
    except (LauncherError, LedgerError) as error:
        sys.exit(str(error))
"""

MOMENTS = {
    "before any folder": ("before FolderWriter attempt 1", 0),
    "in the middle of the folders": ("before FolderWriter attempt 6", 0),
    "in the middle of a folder": ("before FolderWriter attempt 6", 4096),
    "before the payloads begin": (f"after FolderWriter attempt {STRUCTURES}", 0),
    "while the ledger keeps what was prepared": ("before Ledger mark_prepared 1", 0),
    "while the ledger keeps the jobs": ("before Ledger mark_submitted 1", 0),
    "when the jobs are known": ("after Ledger mark_submitted 1", 0),
    "while no more files can be made": ("before FolderWriter attempt 6", FILES),
    "while the payloads can make no files": (f"after FolderWriter attempt {STRUCTURES}", FILES),
    "when the jobs are known and can make no files": ("after Ledger mark_submitted 1", FILES),
    "when a few can begin": ("after Ledger mark_submitted 1", 40_000),
}
WITH_SLURM = {
    **{
        name: MOMENTS[name]
        for name in (
            "in the middle of the folders",
            "while the ledger keeps the jobs",
            "when the jobs are known",
            "when the jobs are known and can make no files",
            "when a few can begin",
        )
    },
    "before a job script": ("before JobArray write 1", 0),
    "in the middle of a job script": ("before JobArray write 1", 4096),
    "after a job script": ("after JobArray write 1", 0),
}


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "8m", files=400) as made:
        yield made


def made_on(disk: Path, engine: TestEngine, kind: str, ledger_too: bool) -> tuple[Campaign, Ledger]:
    """A campaign with all that it has, or with its job folders only, on a disk."""
    if ledger_too:
        return prepared(disk, engine, STRUCTURES, kind, grace_s=1.0)
    folder = disk.parent / "elsewhere"
    (folder / "campaign").mkdir(parents=True)
    (folder / "campaign" / "jobs").symlink_to(disk)
    return prepared(folder, engine, STRUCTURES, kind, grace_s=1.0)


def run_until_full(campaign: Campaign, disk: Path, moment: tuple[str, int]) -> str:
    """Run a batch whose disk is filled at a moment; returns the line that it ends with."""
    call, leave = moment
    done = subprocess.run(
        [sys.executable, "-c", FILLING, str(campaign.file), str(STRUCTURES), str(disk), call, str(leave)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


def assert_it_says_what_and_where(campaign: Campaign, told: str, by_the_ledger: bool) -> None:
    assert str(campaign.ledger if by_the_ledger else campaign.jobs_dir) in told, told
    assert "disk is full" in told or "no space left" in told.lower(), told


def assert_it_cost_nothing(campaign: Campaign, ledger: Ledger, engine: TestEngine, disk: Path) -> None:
    """What had not begun has lost nothing; with some space it is computed, once."""
    # An engine may have been ended before its first line.
    begun = set(engine.runs) | {
        index for index in range(STRUCTURES) if (campaign.jobs_dir / f"job_{index}" / OUTPUT_FILE).exists()
    }
    make_room(disk)
    words = settled(list(batch(campaign, ledger, list(range(STRUCTURES)), "next")))
    assert len(words) == STRUCTURES and all(isinstance(word, Completed) for word in words.values())
    unbegun = set(range(STRUCTURES)) - begun
    assert unbegun
    structures = ledger.structures.of(sorted(unbegun))
    assert {(one.fail_count, one.loss_count, one.held) for one in structures.values()} <= {(0, 0, False)}
    runs = Counter(engine.runs)
    assert {index: runs[index] for index in unbegun} == dict.fromkeys(unbegun, 1)
    outcomes = {a.outcome for found in ledger.history.attempts_of(sorted(unbegun)).values() for a in found}
    assert outcomes <= {Outcome.COMPLETED, Outcome.CANCELLED}
    assert ledger.figures.count_by_status() == {Status.COMPLETED: STRUCTURES}
    half_made = [path for path in campaign.jobs_dir.glob(".*") if path.name not in (".batches", ".workers")]
    assert half_made == []


@pytest.mark.slow
@pytest.mark.parametrize("ledger_too", [False, True], ids=["job folders", "ledger too"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_on_this_machine(
    tmp_path: Path, engine: TestEngine, disk: Path, moment: str, ledger_too: bool
) -> None:
    campaign, ledger = made_on(disk, engine, "local", ledger_too)
    leave = MOMENTS[moment][1]
    told = run_until_full(campaign, disk, MOMENTS[moment])
    assert_it_says_what_and_where(campaign, told, ledger_too and leave != FILES)
    assert leave > 4096 or engine.runs == []
    assert_it_cost_nothing(campaign, ledger, engine, disk)


@pytest.mark.slurm
@pytest.mark.parametrize("ledger_too", [False, True], ids=["job folders", "ledger too"])
@pytest.mark.parametrize("moment", WITH_SLURM)
def test_with_slurm(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine, disk: Path, moment: str, ledger_too: bool
) -> None:
    campaign, ledger = made_on(disk, engine, "slurm", ledger_too)
    call, leave = WITH_SLURM[moment]
    told = run_until_full(campaign, disk, (call, leave))
    assert_it_says_what_and_where(campaign, told, ledger_too and leave != FILES)
    # What Slurm has got may begin until then, and find no space.
    until(lambda: not slurm.run("squeue", "-h", "-o", "%i").strip())
    assert leave > 4096 or engine.runs == []
    assert_it_cost_nothing(campaign, ledger, engine, disk)
    arrays = (campaign.jobs_dir / ".batches").glob("oact-*")
    assert all((folder / "job.sh").is_file() for folder in arrays), (
        "no folder of an array is left half-written"
    )


@pytest.mark.slurm
def test_what_slurm_has_is_known_when_the_next_job_script_cannot_be_written(
    tmp_path: Path, slurm: RealSlurm, engine: TestEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign, ledger = prepared(tmp_path, engine, 6, "slurm", max_array_size=3)
    written: list[JobArray] = []
    real = JobArray.write

    def write(*arguments: Any) -> JobArray:
        if len(written) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(real(*arguments))
        return written[-1]

    with monkeypatch.context() as patched:
        patched.setattr(JobArray, "write", write)
        with pytest.raises(LauncherError, match="a job script could not be written: No space left on device"):
            list(batch(campaign, ledger, list(range(6)), "first"))
    submitted = [attempt.orig_index for attempt in ledger.history.every_open_attempt()]
    assert submitted == [0, 1, 2]
    words = settled(list(batch(campaign, ledger, list(range(6)), "next")))
    assert all(isinstance(word, Completed) for word in words.values()) and len(words) == 6
    assert Counter(engine.runs) == dict.fromkeys(range(6), 1)
    assert len(slurm.calls_of("sbatch")) == 2, "the first three were submitted once"
