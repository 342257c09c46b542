"""What a scheduler is asked before anything is submitted: a real Slurm, and the stand-in for Flux."""

from pathlib import Path
from typing import Any

import pytest

from oact_dagster.maintenance.check import Report, check_campaign
from oact_dagster.schedulers.slurm.times import megabytes_of, seconds_of, slurm_time
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.cli.command import oact
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.launchers.test_flux import StandIn, flux
from oact_dagster_tests.schedulers.real_slurm import RealSlurm

__all__ = ["flux"]


def campaign(tmp_path: Path, kind: str, **launcher: Any) -> Campaign:
    # Without the queue's longest limit a check says so.
    settings = {
        "launcher": {"kind": kind, "command_timeout_s": 20.0, "max_job_timeout_s": 86400.0, **launcher}
    }
    return write_campaign(tmp_path / "campaign", 2, TestEngine(tmp_path).path, settings=settings)


def checked(tmp_path: Path, kind: str, **launcher: Any) -> Report:
    return check_campaign(campaign(tmp_path, kind, **launcher))


@pytest.mark.slurm
def test_jobs_that_slurm_would_take(tmp_path: Path, slurm: RealSlurm) -> None:
    report = checked(
        tmp_path, "slurm", queue="main", resources=[{"max_atoms": 2, "n_cores": 8, "n_hours": 24}]
    )
    assert (report.blocking, report.notes) == ([], [])
    assert len(slurm.calls_of("sbatch")) == 2 and all(
        "--test-only" in call for call in slurm.calls_of("sbatch")
    )
    # Jobs of earlier tests, which have ended, may still be listed.
    assert not slurm.run("squeue", "-h", "-o", "%i").strip(), "nothing was submitted"


@pytest.mark.slurm
def test_a_retry_without_a_longest_limit_is_told(tmp_path: Path, slurm: RealSlurm) -> None:
    (note,) = checked(tmp_path, "slurm", queue="main", max_job_timeout_s=None).notes
    assert note.startswith(
        "launcher.max_job_timeout_s is not set: each retry after a timeout doubles the time limit"
    )
    assert (
        checked(
            tmp_path / "pilots", "slurm", queue="main", max_job_timeout_s=None, per_job="parsl", n_hours=3.0
        ).notes
        == []
    )


@pytest.mark.slurm
def test_a_retry_that_a_partition_would_never_start_is_told(tmp_path: Path, slurm: RealSlurm) -> None:
    (note,) = checked(tmp_path, "slurm", queue="main", max_job_timeout_s=108000.0).notes
    assert note == (
        "launcher.max_job_timeout_s: a retry after a timeout may ask for 1-06:00:00, but partition main allows"
        " 1-00:00:00: it would wait for ever"
    )


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"queue": "nope"}, ["launcher.queue: nope: Slurm has no such partition; it has main, scav, high, "]),
        (
            {"queue": "it's; $(touch pwned)"},
            ["launcher.queue: it's; $(touch pwned): Slurm has no such partition; it has main, scav, high, "],
        ),
        (
            {"queue": "short", "n_hours": 0.05},
            [
                "launcher.n_hours: the jobs of all structures ask for 0:03:00, but partition short allows 0:02:00: they"
                " would wait for ever"
            ],
        ),
        (
            {"resources": [{"max_atoms": 2, "n_hours": 30}, {"max_atoms": 9}], "max_job_timeout_s": 108000.0},
            [
                "launcher.n_hours: the jobs of structures with up to 2 atoms ask for 1-06:00:00, but partition main"
                " allows 1-00:00:00: they would wait for ever"
            ],
        ),
        (
            {"resources": [{"max_atoms": 9, "n_cores": 9}]},
            [
                "the jobs of structures with up to 9 atoms ask for 9 cores and 21200 MB of one node, but partition main"
                " has at most 8 cores with 64000 MB"
            ],
        ),
        (
            {"mem": 70_000},
            ["the jobs of all structures ask for 1 core and 70000 MB of one node, but partition main has at most"
             " 8 cores with 64000 MB"],
        ),
        ({"constraint": "gpu"}, ["Slurm would refuse the jobs of all structures: Invalid feature specification"]),
        (
            {"extra_directives": ["--partition=nope"]},
            ["Slurm would refuse the jobs of all structures: invalid partition specified: nope; "],
        ),
        ({"n_hours": 0.01, "queue": "short,main"}, []),
    ],
    ids=["queue", "shell", "limit", "limit by size", "cores", "memory", "feature", "own partition", "two queues"],
)  # fmt: skip
def test_jobs_that_slurm_would_not_run(
    tmp_path: Path, slurm: RealSlurm, settings: dict[str, Any], said: list[str]
) -> None:
    report = checked(tmp_path, "slurm", **settings)
    assert len(report.blocking) == len(said), report.blocking
    assert all(told.startswith(line) for told, line in zip(report.blocking, said, strict=True)), (
        report.blocking
    )
    assert not any("\n" in line for line in [*report.blocking, *report.notes])
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.slurm
def test_pilots_are_asked_for_in_place_of_structures(tmp_path: Path, slurm: RealSlurm) -> None:
    pilots = {"per_job": "parsl", "n_hours": 2.0, "job_timeout_s": 60.0, "cores_per_worker": 4, "mem": 60_000}
    assert checked(tmp_path / "good", "slurm", **pilots, max_workers=2).blocking == []
    assert "--ntasks-per-node=8 --time=2:00:00 --mem=60000M" in slurm.calls_of("sbatch")[0]
    assert checked(tmp_path / "bad", "slurm", **pilots, max_workers=3).blocking == [
        "the jobs of the pilots ask for 12 cores and 60000 MB of one node, but partition main has at most 8 cores with"
        " 64000 MB"
    ]


@pytest.mark.slurm
def test_what_passes_is_a_note(tmp_path: Path, slurm: RealSlurm) -> None:
    slurm.run("scontrol", "update", "PartitionName=last", "State=DOWN")
    slurm.run("scontrol", "update", "NodeName=n3", "State=DRAIN", "Reason=disk, broken")
    try:
        report = checked(tmp_path, "slurm", queue="last", allocation="dnn-sim", mem="none")
    finally:
        slurm.run("scontrol", "update", "PartitionName=last", "State=UP")
        slurm.run("scontrol", "update", "NodeName=n3", "State=RESUME")
    assert report.blocking == []
    drained, down, account = report.notes
    assert drained == (
        "no node of partition last that could run the jobs of all structures is up (drained: disk, broken): they wait"
        " until one is"
    )
    assert down == "partition last is DOWN: its jobs wait until it is up"
    assert (
        account
        == "launcher.allocation dnn-sim: this Slurm accepts any value, so this one could not be checked"
    )


@pytest.mark.slurm
def test_an_account_is_refused_where_slurm_looks_at_accounts(tmp_path: Path, slurm: RealSlurm) -> None:
    # That needs slurmdbd, which does not run here: its recorded refusal is replayed.
    slurm.put_fault(
        "sbatch",
        "echo 'allocation failure: Invalid account or account/partition combination specified' >&2; exit 1",
    )
    slurm.put_fault(
        "scontrol",
        'if [ "$2" = config ]; then echo "AccountingStorageEnforce = associations,limits,qos"; else "$REAL" "$@"; fi',
    )
    report = checked(tmp_path, "slurm", allocation="nope")
    assert report.blocking == [
        "Slurm would refuse the jobs of all structures: Invalid account or account/partition combination specified"
    ]
    assert report.notes == []


@pytest.mark.slurm
def test_a_frozen_slurm_costs_one_line_and_not_the_rest_of_the_check(
    tmp_path: Path, slurm: RealSlurm
) -> None:
    slurm.freeze()
    report = checked(tmp_path, "slurm", command_timeout_s=1.0)
    slurm.thaw()
    assert (report.rows, report.runnable, report.blocking) == (2, 2, [])
    assert report.notes == [
        "slurm does not answer (scontrol did not answer within its time limit): could not ask whether it would take the"
        " jobs"
    ]


@pytest.mark.parametrize(("kind", "program"), [("slurm", "scontrol"), ("flux", "flux")])
def test_a_machine_without_the_scheduler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, program: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    report = checked(tmp_path, kind)
    assert (report.rows, report.runnable) == (2, 2)
    assert report.blocking == [
        f"launcher.kind: {kind}: {program}: no such program on PATH; is this a machine from which jobs can be"
        " submitted?"
    ]


NAMELESS = {"queues": [{"name": ""}], "default": ""}
PDEBUG = {"queues": [{"name": "pbatch"}, {"name": "pdebug", "timelimit": "120.0"}]}
MIXED = {
    "nodes": {
        "n1": {"cores": 16, "properties": []},
        "n2": {"cores": 64, "properties": ["gpu"]},
    },
    "queues": [{"name": "pbatch"}, {"name": "small", "nodes": ["n1"], "max_ncores": 8}, {"name": "empty", "nodes": []}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "instance", "blocking", "notes"),
    [
        ({"queue": "pbatch"}, {}, [], []),
        ({"queue": "nope"}, {}, ["launcher.queue: nope: Flux has no such queue; it has pbatch"], []),
        (
            {"queue": "pbatch"}, NAMELESS,
            ["launcher.queue: pbatch: Flux has no such queue; it has one without a name: leave launcher.queue out"],
            [],
        ),
        ({}, NAMELESS, [], []),
        (
            {"queue": "pdebug", "n_hours": 1}, PDEBUG,
            ["launcher.n_hours: the jobs of all structures ask for 60 minutes, but queue pdebug allows 2: Flux would"
             " refuse them"], [],
        ),
        (
            {"n_hours": 1}, {**PDEBUG, "default": "pdebug"},
            ["launcher.n_hours: the jobs of all structures ask for 60 minutes, but queue pdebug allows 2: Flux would"
             " refuse them"], [],
        ),
        (
            {"queue": "pdebug", "n_hours": 1},
            {"queues": [{"name": "pdebug", "submission": "disabled", "scheduling": "stopped", "timelimit": "2h"}]},
            ["queue pdebug takes no jobs now (its submission is disabled)"],
            ["queue pdebug starts no jobs now (its scheduling is stopped): they wait until it does",
             "launcher.max_job_timeout_s: a retry after a timeout may ask for 1440 minutes, but queue pdebug allows"
             " 120: Flux would refuse it"],
        ),
        (
            {}, {"queues": [{"name": "a"}, {"name": "b"}], "default": ""},
            ["launcher.queue is not set, and Flux has no default queue; it has a, b"], [],
        ),
        (
            {"queue": "pbatch", "allocation": "dnn-sim"}, {}, [],
            ["could not ask whether Flux accepts bank dnn-sim: only a submit will show it"],
        ),
        (
            {"resources": [{"max_atoms": 9, "n_cores": 65}]}, MIXED,
            ["the jobs of structures with up to 9 atoms ask for 65 cores of one node, but queue pbatch has at most 64:"
             " they would never start"], [],
        ),
        (
            {"queue": "small", "resources": [{"max_atoms": 9, "n_cores": 9}]}, MIXED,
            ["the jobs of structures with up to 9 atoms ask for 9 cores, but queue small allows 8: Flux would refuse"
             " them"], [],
        ),
        (
            {"queue": "small", "constraint": "gpu"}, MIXED,
            ["launcher.constraint: no node of queue small meets it, and the jobs would never start; the properties of"
             " its nodes: none"], [],
        ),
        ({"constraint": "gpu|big", "resources": [{"max_atoms": 9, "n_cores": 64}]}, MIXED, [], []),
        (
            {"constraint": "(gpu|big"}, MIXED,
            ["flux submit would refuse the options of the jobs: --requires='(gpu|big': Unclosed parenthesis in position"
             " 0"], [],
        ),
        ({"constraint": "-host:n2"}, MIXED, [], []),
        (
            {"extra_directives": ["--bad"]}, {},
            ["flux submit would refuse the options of the jobs: unrecognized arguments: --bad"], [],
        ),
        ({"extra_directives": ["--exclusive"]}, {}, [], []),
        (
            {"n_hours": 1}, {"queues": [{"name": "pbatch", "timelimit": "4h"}]}, [],
            ["launcher.max_job_timeout_s: a retry after a timeout may ask for 1440 minutes, but queue pbatch allows"
             " 240: Flux would refuse it"],
        ),
        ({"queue": "empty"}, MIXED, ["queue empty has no nodes: the jobs would never start"], []),
    ],
    ids=[
        "good", "no such queue", "no queues", "anonymous", "limit", "limit of the default", "disabled", "no default",
        "bank", "cores", "cores of the queue", "property", "operators", "syntax", "host", "option", "exclusive",
        "limit of a retry", "no nodes",
    ],
)  # fmt: skip
def test_what_flux_is_asked(
    tmp_path: Path,
    flux: StandIn,
    settings: dict[str, Any],
    instance: dict[str, Any],
    blocking: list[str],
    notes: list[str],
) -> None:
    flux.instance(**instance)
    report = checked(tmp_path, "flux", **settings)
    assert (report.blocking, report.notes) == (blocking, notes)
    assert all("--dry-run" in call for call in flux.calls("submit")), "nothing is submitted"
    assert not any("\n" in line for line in [*report.blocking, *report.notes])


def test_pilots_of_flux_are_asked_for_in_place_of_structures(tmp_path: Path, flux: StandIn) -> None:
    flux.instance(**MIXED)
    pilots = {
        "per_job": "parsl",
        "n_hours": 2.0,
        "job_timeout_s": 60.0,
        "cores_per_worker": 4,
        "queue": "pbatch",
    }
    assert checked(tmp_path / "good", "flux", **pilots, max_workers=16).blocking == []
    assert checked(tmp_path / "bad", "flux", **pilots, max_workers=17).blocking == [
        "the jobs of the pilots ask for 68 cores of one node, but queue pbatch has at most 64: they would never start"
    ]


def test_a_frozen_flux_and_one_without_a_broker_cost_one_line(tmp_path: Path, flux: StandIn) -> None:
    flux.fault("hang")
    report = checked(tmp_path, "flux", command_timeout_s=0.5)
    assert (report.runnable, report.blocking) == (2, [])
    assert report.notes == [
        "flux does not answer (flux did not answer within its time limit): could not ask whether it would take the jobs"
    ]
    flux.fault("no-broker")
    (note,) = check_campaign(campaign(tmp_path / "other", "flux")).notes
    assert note.startswith("flux does not answer (") and "Unable to connect to Flux" in note


def test_an_orca_that_only_the_nodes_see(tmp_path: Path, flux: StandIn) -> None:
    found = write_campaign(
        tmp_path / "campaign",
        1,
        Path("/nodes/only/orca"),
        settings={"launcher": {"kind": "flux", "queue": "pbatch"}},
    )
    report = check_campaign(found)
    assert report.blocking == []
    assert report.notes[0] == (
        f"{found.file}: orca.command: /nodes/only/orca: does not exist on this machine; whether the nodes have it"
        " was not checked"
    )
    there = tmp_path / "orca"
    there.write_text("no program")
    report = check_campaign(
        write_campaign(
            tmp_path / "second", 1, there, settings={"launcher": {"kind": "flux", "queue": "pbatch"}}
        )
    )
    assert "is not an executable file" in report.blocking[0]


def test_more_in_flight_than_the_runs_can_hold(
    tmp_path: Path, flux: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    found = campaign(tmp_path, "flux", queue="pbatch")
    assert "max_in_flight" not in oact("check", found.file).stdout, "the defaults fit each other"
    home = found.folder / ".dagster"
    home.mkdir()
    said = "max_in_flight 5000 is above batch_size 500 times 4 concurrent runs: at most 2000 structures"
    for text, told in (
        ("run_coordinator: {config: {max_concurrent_runs: 4}}", said),
        ("concurrency: {runs: {max_concurrent_runs: 9}}", "500 times 9 concurrent runs"),
        ("run_coordinator: {config: {max_concurrent_runs: 10}}", None),
        ("run_coordinator: {config: {max_concurrent_runs: -1}}", None),
        ("telemetry: {enabled: false}", None),
    ):
        (home / "dagster.yaml").write_text(text)
        out = oact("check", found.file).stdout
        assert (told in out) if told is not None else ("max_in_flight" not in out), text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1-02:03:04.5", 93784.5), ("02:03:04", 7384.0), ("03:04.512", 184.512), ("00:00:00", 0.0), ("", None),
     ("UNLIMITED", float("inf")), ("NONE", None), ("1-00:00:00", 86400.0)],
)  # fmt: skip
def test_spans_of_time(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1234K", 1234 / 1024),
        ("1.5G", 1536.0),
        ("200M", 200.0),
        ("1048576", 1.0),
        ("0", 0.0),
        ("", None),
        ("x", None),
    ],
)
def test_amounts_of_memory(text: str, amount: float | None) -> None:
    assert megabytes_of(text) == amount


def test_minutes_as_slurm_writes_them() -> None:
    assert [slurm_time(minutes) for minutes in (2, 240, 1440, 1800)] == [
        "0:02:00",
        "4:00:00",
        "1-00:00:00",
        "1-06:00:00",
    ]
