"""A user's own function that adds files to job folders."""

import os
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.events import Completed, Event, Failed
from oact_dagster.attempts.known_results import write_inputs
from oact_dagster.attempts.selection import BatchRequest
from oact_dagster.attempts.setup_hook import load_setup_func
from oact_dagster.errors import CampaignError
from oact_dagster.intake.intake import take_in
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.maintenance.check import check_campaign
from oact_dagster.settings.campaign import Campaign
from oact_dagster.status.staleness import stale_results
from oact_dagster.workflows import ArchitectorWorkflow
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.engines import TestEngine

NOTES = """\
from my_words import GREETING

def add_files(job_dir, job_record):
    text = f"{GREETING} {job_record.orig_index} {job_record.spin} {job_record.elements}"
    (job_dir / "notes.txt").write_text(text)
"""


def made(tmp_path: Path, code: str, structures: int = 2, **settings: Any) -> tuple[Campaign, Ledger]:
    engine = TestEngine(tmp_path)
    folder = tmp_path / "campaign"
    folder.mkdir()
    (folder / "my_setup.py").write_text(code)
    (folder / "my_words.py").write_text("GREETING = 'structure'\n")
    settings = {"setup_func": "my_setup:add_files", **settings}
    campaign = write_campaign(folder, structures, engine.path, settings=settings)
    ledger = Ledger(campaign.ledger, create=True)
    take_in(campaign, ledger)
    return campaign, ledger


def run(campaign: Campaign, ledger: Ledger, indices: list[int], batch_id: str = "batch") -> list[Event]:
    batch = BatchRun(
        campaign, ledger, make_launcher(campaign), find_engine(campaign), BatchRequest(indices), batch_id
    )
    return list(batch.run())


def test_it_adds_files_to_each_folder(tmp_path: Path) -> None:
    campaign, ledger = made(tmp_path, NOTES)
    events = run(campaign, ledger, [0, 1])
    assert sum(isinstance(event, Completed) for event in events) == 2
    for index in (0, 1):
        text = (campaign.jobs_dir / f"job_{index}" / "notes.txt").read_text()
        assert text == f"structure {index} 1 O;H;H"


def test_its_exception_fails_that_structure_alone(tmp_path: Path) -> None:
    code = "def add_files(job_dir, job_record):\n    if job_record.orig_index == 1:\n        {raises}\n"
    campaign, ledger = made(tmp_path, code.format(raises="raise KeyError('no such\\nligand')"), 3)
    events = run(campaign, ledger, [0, 1, 2])
    assert sum(isinstance(event, Completed) for event in events) == 2
    (failed,) = (event for event in events if isinstance(event, Failed))
    assert failed.structure.orig_index == 1
    assert failed.failure_class == "setup_failed"
    assert failed.message == r"setup_func: KeyError: 'no such\nligand'"
    assert ledger.structures.of([1])[1].status is Status.FAILED
    assert not (campaign.jobs_dir / "job_1").exists()
    assert [entry.name for entry in campaign.jobs_dir.iterdir() if entry.name.startswith(".job")] == []


def test_sys_exit_in_it_ends_no_batch(tmp_path: Path) -> None:
    campaign, ledger = made(tmp_path, "def add_files(job_dir, job_record):\n    raise SystemExit(3)\n", 1)
    (failed,) = (event for event in run(campaign, ledger, [0]) if isinstance(event, Failed))
    assert failed.message == "setup_func: SystemExit: 3"


@pytest.mark.parametrize("name", ["orca.inp", "attempt.json"])
def test_it_may_not_change_what_is_computed(tmp_path: Path, name: str) -> None:
    code = f"def add_files(job_dir, job_record):\n    (job_dir / '{name}').open('a').write('! LooseSCF')\n"
    campaign, ledger = made(tmp_path, code, 1)
    (failed,) = (event for event in run(campaign, ledger, [0]) if isinstance(event, Failed))
    assert f"setup_func changed {name}" in failed.message


def test_its_files_count_only_when_it_returns_a_string(tmp_path: Path) -> None:
    hashes = {}
    for name, code in {
        "none": None,
        "nothing": "def add_files(job_dir, job_record):\n    (job_dir / 'x').write_text('x')\n",
        "number": "def add_files(job_dir, job_record):\n    return 5\n",
        "v1": "def add_files(job_dir, job_record):\n    return 'v1'\n",
        "v2": "def add_files(job_dir, job_record):\n    return 'v2'\n",
    }.items():
        settings = {"setup_func": None} if code is None else {}
        campaign, ledger = made(tmp_path / name, code or "", 1, **settings)
        run(campaign, ledger, [0])
        hashes[name] = ledger.history.attempts(0)[0].input_hash
    assert hashes["none"] == hashes["nothing"] == hashes["number"]
    assert len({hashes["none"], hashes["v1"], hashes["v2"]}) == 3


def test_it_runs_for_inputs_to_look_at(tmp_path: Path) -> None:
    campaign, ledger = made(tmp_path, NOTES, 1)
    list(write_inputs(campaign, ledger, [0]))
    assert (campaign.jobs_dir / "job_0" / "notes.txt").read_text() == "structure 0 1 O;H;H"


def test_inputs_to_look_at_leave_no_folders_behind(tmp_path: Path) -> None:
    code = NOTES + "    (job_dir / 'more').mkdir()\n    (job_dir / 'more' / 'x').write_text('x')\n"
    campaign, ledger = made(tmp_path, code, 1)
    for _ in range(3):
        list(write_inputs(campaign, ledger, [0]))
    assert [path.name for path in campaign.jobs_dir.glob("job_*")] == ["job_0"]
    # What the user has put there, or written into, is kept.
    (campaign.jobs_dir / "job_0" / "more" / "x").write_text("changed")
    list(write_inputs(campaign, ledger, [0]))
    assert (campaign.jobs_dir / "job_0.attempt-0" / "more" / "x").read_text() == "changed"
    (campaign.jobs_dir / "job_0" / "mine").write_text("kept")
    os.utime(campaign.jobs_dir / "job_0" / "mine", (1, 1))
    list(write_inputs(campaign, ledger, [0]))
    assert (campaign.jobs_dir / "job_0.attempt-0-2" / "mine").read_text() == "kept"
    run(campaign, ledger, [0])
    assert sorted(path.name for path in campaign.jobs_dir.glob("job_*")) == [
        "job_0",
        "job_0.attempt-0",
        "job_0.attempt-0-2",
    ]


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("elsewhere:add_files", "", "no module elsewhere; put elsewhere.py beside campaign.yaml"),
        ("my_setup:add_file", "", "my_setup has no function add_file"),
        ("my_setup:add_files", "add_files = 5", "my_setup has no function add_files"),
        ("my_setup:add_files", "import nowhere_at_all", "needs nowhere_at_all, which is not installed"),
        ("my_setup:add_files", "def add_files(:", "cannot be imported: SyntaxError"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_runs(
    tmp_path: Path, name: str, code: str, said: str
) -> None:
    campaign, ledger = made(tmp_path, code, 1, setup_func=name)
    with pytest.raises(CampaignError, match=said) as caught:
        load_setup_func(campaign)
    assert "\n" not in str(caught.value)
    with pytest.raises(CampaignError):
        run(campaign, ledger, [0])
    assert ledger.structures.of([0])[0].status is Status.TO_RUN


@pytest.mark.parametrize("value", ["add_files", "my_setup.add_files", "my_setup:", "os;x:y", "a b:c"])
def test_it_is_named_by_module_and_function(tmp_path: Path, value: str) -> None:
    with pytest.raises(CampaignError, match="setup_func: must be module:function"):
        made(tmp_path, "", 1, setup_func=value)


def test_two_campaigns_may_each_have_a_module_of_one_name(tmp_path: Path) -> None:
    one, _ = made(tmp_path / "one", "def add_files(job_dir, job_record):\n    return 'one'\n", 1)
    two, _ = made(tmp_path / "two", "def add_files(job_dir, job_record):\n    return 'two'\n", 1)
    first, second = load_setup_func(one), load_setup_func(two)
    assert first is not None and second is not None
    record: Any = None
    assert (first(tmp_path, record), second(tmp_path, record)) == ("one", "two")


@pytest.mark.parametrize("arguments", ["", "job_dir", "job_dir, job_record, more", "*, job_dir, job_record"])
def test_one_that_cannot_be_called_is_refused_before_anything_runs(tmp_path: Path, arguments: str) -> None:
    campaign, ledger = made(tmp_path, f"def add_files({arguments}):\n    pass\n")
    with pytest.raises(CampaignError, match="it is called with two arguments, the job folder"):
        run(campaign, ledger, [0, 1])
    assert ledger.figures.count_by_status() == {Status.TO_RUN: 2} and ledger.history.attempts(0) == []
    [line] = check_campaign(campaign).blocking
    assert line.startswith(f"{campaign.file}: setup_func: my_setup:add_files: takes (")


@pytest.mark.parametrize("arguments", ["*arguments", "job_dir, job_record, more=None", "a, b, /"])
def test_what_can_be_called_is_not_refused(tmp_path: Path, arguments: str) -> None:
    campaign, _ = made(tmp_path, f"def add_files({arguments}):\n    pass\n")
    assert load_setup_func(campaign) is not None


def test_another_string_counts_when_a_structure_is_set_back(tmp_path: Path) -> None:
    code = "def add_files(job_dir, job_record):\n    return {!r} if job_record.orig_index else 'one'\n"
    campaign, ledger = made(tmp_path, code.format("one"))
    run(campaign, ledger, [0, 1])
    (campaign.folder / "my_setup.py").write_text(code.format("two, longer"))
    assert all(one.reused for one in run(campaign, ledger, [0, 1], "again") if isinstance(one, Completed))
    assert stale_results(campaign, ledger) == 0
    ids = [one.id for one in ledger.structures.of([0, 1]).values()]
    with ArchitectorWorkflow(campaign.ledger) as workflow:
        workflow.update_status_bulk(ids, "to_run")
    run(campaign, ledger, [0, 1], "set back")
    assert ledger.figures.count_by_status() == {Status.COMPLETED: 2}
    assert [len(ledger.history.attempts(index)) for index in (0, 1)] == [1, 2]
