"""What the next attempt of a structure changes, and when there is none: with real processes and a real ledger."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from oact_dagster.attempts.batch import BatchRun
from oact_dagster.attempts.engine import find_engine
from oact_dagster.attempts.events import Completed, Event, Failed, InputWritten, Note
from oact_dagster.attempts.next_attempt import NextAttempt, plan_next
from oact_dagster.attempts.selection import BatchRequest, Selection, resolve
from oact_dagster.errors import CampaignError, LauncherError, LedgerError
from oact_dagster.intake.intake import take_in
from oact_dagster.launchers.factory import make_launcher
from oact_dagster.ledger.states import AttemptRecord, Outcome, Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.settings.campaign import Campaign, load_campaign
from oact_dagster.status.staleness import stale_results
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.made_gbw import gbw
from oact_dagster_tests.requirements import lacking


@pytest.fixture
def engine(tmp_path: Path) -> TestEngine:
    return TestEngine(tmp_path)


class Trial:
    """A campaign whose structures are run again and again."""

    def __init__(self, folder: Path, engine: TestEngine, structures: int = 1, **settings: Any) -> None:
        self.campaign: Campaign = write_campaign(folder, structures, engine.path, settings=settings)
        self.ledger = Ledger(self.campaign.ledger, create=True)
        take_in(self.campaign, self.ledger)
        self._batches = 0

    def run(self, *indices: int, request: BatchRequest | None = None) -> list[Event]:
        self._batches += 1
        batch = BatchRun(
            self.campaign,
            self.ledger,
            make_launcher(self.campaign),
            find_engine(self.campaign),
            request or BatchRequest(list(indices or (0,))),
            f"batch {self._batches}",
        )
        return list(batch.run())

    def change(self, **settings: Any) -> None:
        """Change settings in campaign.yaml; dictionaries are merged."""
        file = self.campaign.file
        values = yaml.safe_load(file.read_text())
        for key, value in settings.items():
            values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
        file.write_text(yaml.safe_dump(values))
        self.campaign = load_campaign(file)

    def attempts(self, index: int = 0) -> list[AttemptRecord]:
        return self.ledger.history.attempts(index)

    @property
    def input(self) -> str:
        return (self.campaign.jobs_dir / "job_0" / "orca.inp").read_text()


@pytest.fixture
def trial(tmp_path: Path, engine: TestEngine) -> Iterator[Trial]:
    yield Trial(tmp_path / "campaign", engine)


def failed(events: list[Event]) -> Failed:
    (event,) = (event for event in events if isinstance(event, Failed))
    return event


def test_after_an_scf_that_did_not_converge_the_method_changes(engine: TestEngine, trial: Trial) -> None:
    engine.set("scf_not_converged scf_not_converged normal", 0)
    trial.run()
    plain = trial.input
    assert "SlowConv" not in plain
    trial.run()
    assert "SlowConv" in trial.input and "NormalConv" not in trial.input
    assert "# remedy: slowconv\n" in trial.input
    events = trial.run()
    assert "KDIIS" in trial.input and " DIIS " not in trial.input
    (done,) = (event for event in events if isinstance(event, Completed))
    assert done.attempt is not None and done.attempt.remedy == "kdiis"
    (written,) = (event for event in events if isinstance(event, InputWritten))
    assert written.remedy == "kdiis"
    first, second, third = trial.attempts()
    assert [one.remedy for one in (first, second, third)] == [None, "slowconv", "kdiis"]
    assert len({one.input_hash for one in (first, second, third)}) == 3
    assert {one.settings_hash for one in (first, second, third)} == {trial.campaign.settings_hash()}
    assert trial.ledger.structures.of([0])[0].fail_count == 2


def test_near_convergence_it_goes_on_from_its_own_orbitals(engine: TestEngine, trial: Trial) -> None:
    engine.set("near normal", 0)
    (engine.control / "orca.gbw").write_bytes(gbw(25))
    trial.run()
    trial.run()
    assert "MORead" in trial.input and '%moinp "restart.gbw"' in trial.input
    assert "maxiter 1000" in trial.input and "PModel" not in trial.input
    job = trial.campaign.jobs_dir / "job_0"
    assert (job / "restart.gbw").read_bytes() == gbw(25)
    assert trial.attempts()[1].remedy == "restart"
    assert (job.with_name("job_0.attempt-1") / "orca.gbw").is_file(), "the original stays where it was"


def test_orbitals_that_were_cut_off_are_not_started_from(engine: TestEngine, trial: Trial) -> None:
    engine.set("near normal", 0)
    (engine.control / "orca.gbw").write_bytes(gbw(25, tail=b"")[:-8])
    trial.run()
    trial.run()
    assert "MORead" not in trial.input and "SlowConv" in trial.input
    assert trial.attempts()[1].remedy == "slowconv"


def test_more_memory_as_orca_asks_for(engine: TestEngine, trial: Trial) -> None:
    engine.set("memory normal", 0)
    trial.run()
    assert "%maxcore 2000" in trial.input
    trial.run()
    assert "%maxcore 4789" in trial.input
    first, second = trial.attempts()
    assert first.input_hash == second.input_hash, "memory changes nothing that is computed"
    assert (first.plan["maxcore"], second.plan["maxcore"]) == (2000, 4789)


def test_at_the_nodes_limit_fewer_processes(tmp_path: Path, engine: TestEngine) -> None:
    trial = Trial(tmp_path / "campaign", engine, orca={"n_cores": 4}, launcher={"memory_mb": 10_000})
    engine.set("memory normal", 0)
    trial.run()
    assert "nprocs 4" in trial.input
    trial.run()
    assert "%maxcore 4789" in trial.input and "nprocs 2" in trial.input
    assert trial.attempts()[1].n_cores == 2 or trial.attempts()[1].result["n_cores"] == 2
    trial = Trial(tmp_path / "small", engine, launcher={"memory_mb": 3_000})
    engine.set("memory memory memory memory normal", 0)
    (engine.control / "runs").unlink()
    trial.run()
    assert "not tried again" in failed(trial.run()).message
    assert "3000" in trial.ledger.structures.of([0])[0].error_message or "3000" in failed(trial.run()).message


def test_a_longer_limit_after_a_timeout(tmp_path: Path, engine: TestEngine) -> None:
    launcher = {"job_timeout_s": 0.4, "max_job_timeout_s": 0.6, "stop_grace_s": 0.1}
    trial = Trial(tmp_path / "campaign", engine, launcher=launcher)
    engine.set("hang", 0)
    trial.run()
    trial.run()
    first, second = trial.attempts()
    assert (first.plan["time_limit_s"], second.plan["time_limit_s"]) == (0.4, 0.6)
    assert second.outcome is Outcome.TIMEOUT
    stopped = failed(trial.run())
    assert "not tried again" in stopped.message and "0.6 s" in stopped.message
    assert len(trial.attempts()) == 2 and engine.runs == [0, 0]
    assert trial.ledger.structures.of([0])[0].status is Status.TIMEOUT


def test_hosts_at_fault_are_left_out(engine: TestEngine, trial: Trial) -> None:
    engine.set("crash", 0)
    trial.run()
    here = trial.attempts()[0].host
    at_fault = {"disk_full": "n7.cluster", "mpi_error": "n2", "lost": "n7.other", "aborted": "n9"}
    kept = {kind: replace(trial.attempts()[0], failure_class=kind, host=at_fault[kind]) for kind in at_fault}
    attempts = [*kept.values(), replace(trial.attempts()[0], failure_class="lost", host=here)]
    record = trial.ledger.structures.of([0])[0]
    coming = plan_next(trial.campaign, record, attempts, settings_hash=trial.campaign.settings_hash())
    assert isinstance(coming, NextAttempt)
    assert coming.avoid == ("n2", "n7"), "not where the input failed, nor where no job ran"
    assert coming.kept(2000, None)["avoid_hosts"] == ["n2", "n7"]


def test_an_input_error_is_not_tried_again_until_the_settings_change(
    engine: TestEngine, trial: Trial
) -> None:
    engine.set("input_error input_error normal", 0)
    trial.run()
    for _ in range(2):
        event = failed(trial.run())
        assert event.failure_class == "input_error"
        assert "not tried again" in event.message and "change the settings" in event.message
    assert engine.runs == [0]
    trial.change(orca={"scf_maxiter": 300})
    trial.run()
    assert engine.runs == [0, 0]
    assert trial.attempts()[1].remedy is None


def test_an_input_that_was_refused_for_a_missing_comment_is_run_once_the_csv_has_it(tmp_path: Path) -> None:
    """The stand-in engine takes the oxidation state from a comment, which is no setting."""
    if find_spec("tblite") is None:
        lacking("engine", "pip install 'oact-dagster[demo]'")
    csv, header = tmp_path / "structures.csv", "name,metal_ox,aligned_csd_core,charge,uhf\n"
    csv.write_text(
        header
        + '"uranyl",6,"U 0 0 0\nO 0 0 1.76\nO 0 0 -1.76",2,0\n"water",,"O 0 0 0\nH 0 0 1\nH 0 1 0",0,0\n'
    )
    given: dict[str, Any] = {
        "name": "test",
        "csv": csv.name,
        "annotate": [],
        "orca": {"command": "standin", "n_cores": 1},
    }
    file, numbers = tmp_path / "campaign.yaml", count(1)

    def run() -> tuple[list[Event], int]:
        """Take the CSV in and run what is not completed; return also how many were set aside by then."""
        file.write_text(yaml.safe_dump(given))
        campaign = load_campaign(file)
        with Ledger(campaign.ledger, create=True) as ledger:
            take_in(campaign, ledger)
            set_aside = len(ledger.structures.stored_set_aside(3, None, campaign.retry_key()))
            request = resolve(campaign, ledger, Selection("unfinished"))
            name = f"batch {next(numbers)}"
            batch = BatchRun(campaign, ledger, make_launcher(campaign), find_engine(campaign), request, name)
            return list(batch.run()), set_aside

    events, set_aside = run()
    assert set_aside == 0
    event = failed(events)
    assert (event.structure.orig_index, event.failure_class) == (0, "input_refused")
    assert "name a column metal_ox or oxidation_state under annotate" in event.message
    assert [one.structure.orig_index for one in events if isinstance(one, Completed)] == [1]
    events, set_aside = run()
    assert set_aside == 1 and "not tried again" in failed(events).message
    given["annotate"] = ["metal_ox"]
    events, set_aside = run()
    assert set_aside == 0
    assert [one.structure.orig_index for one in events if isinstance(one, Completed)] == [0]


def test_who_ignores_the_budget_begins_anew(engine: TestEngine, trial: Trial) -> None:
    engine.set("input_error normal", 0)
    trial.run()
    events = trial.run(request=BatchRequest([0], ignore_budget=True))
    assert any(isinstance(event, Completed) for event in events)
    assert trial.attempts()[1].remedy is None


def test_the_ladder_can_be_changed(tmp_path: Path, engine: TestEngine) -> None:
    trial = Trial(
        tmp_path / "campaign",
        engine,
        structures=2,
        remedies={"scf_not_converged": ["trah"], "aborted": []},
    )
    engine.set("scf_not_converged normal", 0)
    engine.set("crash normal", 1)
    trial.run(0, 1)
    stopped = failed(trial.run(0, 1))
    assert "TRAH" in trial.input and "NoTRAH" not in trial.input
    assert stopped.structure.orig_index == 1 and "not tried again" in stopped.message
    assert sorted(engine.runs) == [0, 0, 1]


@pytest.mark.parametrize(
    ("remedies", "said"),
    [
        ({"scf_not_convergd": ["trah"]}, "scf_not_converged"),
        ({"scf_not_converged": ["trahh"]}, "trah"),
        ({"scf_not_converged": "trah"}, "must be a list"),
    ],
)
def test_a_wrong_ladder_is_refused(tmp_path: Path, engine: TestEngine, remedies: Any, said: str) -> None:
    with pytest.raises(CampaignError, match=said) as caught:
        write_campaign(tmp_path / "campaign", 1, engine.path, settings={"remedies": remedies})
    assert "remedies" in str(caught.value) and "\n" not in str(caught.value)


def test_a_result_of_the_same_input_is_not_computed_again(engine: TestEngine, trial: Trial) -> None:
    trial.run()
    energy = trial.ledger.history.attempts(0)[0].result["final_energy"]
    with trial.ledger.file.transaction() as db:
        db.execute("UPDATE structures SET status = 'to_run', final_energy = NULL")
    events = trial.run()
    assert engine.runs == [0]
    (done,) = (event for event in events if isinstance(event, Completed))
    assert done.reused and done.attempt is not None and done.attempt.result["final_energy"] == energy
    assert any(
        isinstance(event, Note) and "already has a result for this input" in event.text for event in events
    )
    (row,) = trial.ledger.history.completed()
    assert row["final_energy"] == energy


def test_without_its_output_it_is_computed_again(engine: TestEngine, trial: Trial) -> None:
    trial.run()
    (trial.campaign.jobs_dir / "job_0" / "orca.out").unlink()
    with trial.ledger.file.transaction() as db:
        db.execute("UPDATE structures SET status = 'to_run', final_energy = NULL")
    trial.run()
    assert engine.runs == [0, 0]


def test_results_of_other_settings_are_counted_and_computed_again_when_asked(
    tmp_path: Path, engine: TestEngine
) -> None:
    trial = Trial(tmp_path / "campaign", engine, structures=3)
    trial.run(0, 1)
    assert stale_results(trial.campaign, trial.ledger) == 0
    trial.change(orca={"n_cores": 2, "maxcore": 3000}, annotate=[])
    assert stale_results(trial.campaign, trial.ledger) == 0, "cores, memory and comments change no result"
    trial.change(orca={"scf_maxiter": 300})
    assert stale_results(trial.campaign, trial.ledger) == 2
    trial.run(2)
    assert stale_results(trial.campaign, trial.ledger) == 2
    assert sorted(engine.runs) == [0, 1, 2]
    again = trial.run(0, 1)
    assert sorted(engine.runs) == [0, 1, 2], "a run that does not ask for it leaves them"
    old = {event.settings_hash for event in again if isinstance(event, InputWritten)}
    assert old and trial.campaign.settings_hash() not in old
    request = resolve(trial.campaign, trial.ledger, Selection("stale"))
    assert list(request.orig_indices) == [0, 1]
    trial.run(request=request)
    assert sorted(engine.runs) == [0, 0, 1, 1, 2]
    assert stale_results(trial.campaign, trial.ledger) == 0
    assert trial.ledger.figures.count_by_status() == {Status.COMPLETED: 3}


def test_a_stale_result_without_a_budget_says_why_it_stays(tmp_path: Path, engine: TestEngine) -> None:
    trial = Trial(tmp_path / "campaign", engine, retry={"max_failures": 1})
    engine.set("scf_not_converged normal", 0)
    trial.run()
    trial.run(request=BatchRequest([0], ignore_budget=True))
    trial.change(orca={"scf_maxiter": 300})
    events = trial.run(request=resolve(trial.campaign, trial.ledger, Selection("stale")))
    (note,) = (event for event in events if isinstance(event, Note))
    assert note.warning and "structure 0 keeps its result from other settings" in note.text
    assert "--ignore-budget" in note.text and engine.runs == [0, 0]
    selection = Selection("stale", ignore_budget=True)
    trial.run(request=resolve(trial.campaign, trial.ledger, selection))
    assert engine.runs == [0, 0, 0] and stale_results(trial.campaign, trial.ledger) == 0


def test_settings_that_are_set_back_bring_the_result_back(engine: TestEngine, trial: Trial) -> None:
    job = trial.campaign.jobs_dir / "job_0"

    def stale() -> list[Event]:
        return trial.run(request=resolve(trial.campaign, trial.ledger, Selection("stale")))

    trial.run()
    plain = trial.input
    trial.change(orca={"kdiis": True})
    stale()
    assert engine.runs == [0, 0] and "KDIIS" in trial.input
    trial.change(orca={"kdiis": False})
    (done,) = (event for event in stale() if isinstance(event, Completed))
    assert engine.runs == [0, 0], "it has been computed"
    assert done.attempt is not None and done.attempt.number == 1
    assert trial.input == plain and (job / "orca.out").is_file()
    assert "KDIIS" in (job.with_name("job_0.attempt-2") / "orca.inp").read_text(), "nothing is lost"
    assert stale_results(trial.campaign, trial.ledger) == 0
    trial.change(orca={"kdiis": True})
    assert stale_results(trial.campaign, trial.ledger) == 1
    (done,) = (event for event in stale() if isinstance(event, Completed))
    assert engine.runs == [0, 0] and "KDIIS" in trial.input
    assert done.attempt is not None and done.attempt.number == 2
    assert sorted(path.name for path in job.parent.glob("job_*")) == ["job_0", "job_0.attempt-1"]


def test_what_the_users_own_function_returns_counts_in_a_result(tmp_path: Path, engine: TestEngine) -> None:
    (tmp_path / "campaign").mkdir()
    module = tmp_path / "campaign" / "versions.py"
    code = "def add(job_dir, job_record):\n    return '{}'\n"
    module.write_text(code.format("v1"))
    trial = Trial(tmp_path / "campaign", engine, setup_func="versions:add")

    def again() -> None:
        with trial.ledger.file.transaction() as db:
            db.execute("UPDATE structures SET status = 'to_run', final_energy = NULL")
        trial.run()

    trial.run()
    again()
    assert engine.runs == [0]
    module.write_text(code.format("v2 is another"))
    again()
    assert engine.runs == [0, 0]
    assert sorted(path.name for path in trial.campaign.jobs_dir.glob("job_*")) == ["job_0", "job_0.attempt-1"]


def test_a_result_of_another_orca_is_not_taken(tmp_path: Path, engine: TestEngine) -> None:
    trial = Trial(tmp_path / "campaign", engine, structures=4, launcher={"max_workers": 1})
    trial.run(0)
    (engine.control / "version").write_text("6.0.1")
    trial.run(1)
    assert trial.ledger.figures.count_by_status()[Status.COMPLETED] == 2, "the major version counts"
    (engine.control / "version").write_text("5.0.4")
    with pytest.raises(LauncherError, match=r"computed by ORCA 5\.0\.4.* are from ORCA 6.*orca\.command"):
        trial.run(2, 3)
    assert trial.ledger.figures.count_by_status() == {Status.COMPLETED: 2, Status.TO_RUN: 2}
    (attempt,) = trial.attempts(2)
    assert attempt.outcome is Outcome.CANCELLED
    assert trial.ledger.structures.of([2])[2].fail_count == 0
    (engine.control / "version").write_text("6.1.0")
    trial.run(2, 3)
    assert trial.ledger.figures.count_by_status() == {Status.COMPLETED: 4}


def test_another_basis_file_of_the_same_name_is_another_level_of_theory(
    tmp_path: Path, engine: TestEngine
) -> None:
    (tmp_path / "campaign").mkdir()
    basis = tmp_path / "campaign" / "light.bas"
    basis.write_text("H 0\nS 1\n 1 1.0 1.0\nO 0\nS 1\n 1 1.0 1.0\n")
    trial = Trial(tmp_path / "campaign", engine, orca={"non_actinide_basis": "./light.bas"})
    trial.run()
    basis.write_text("H 0\nS 1\n 1 2.0 1.0\nO 0\nS 1\n 1 1.0 1.0\n")
    with pytest.raises(LedgerError, match="non_actinide_basis=file with SHA-256"):
        trial.run()


def test_a_ladder_that_is_used_up_begins_again_where_the_budget_is_ignored(
    trial: Trial, engine: TestEngine
) -> None:
    trial.change(remedies={"scf_not_converged": ["slowconv", "kdiis"]}, retry={"max_failures": 100})
    engine.set("scf_not_converged")
    request = BatchRequest([0], ignore_budget=True)
    for _ in range(7):
        trial.run(request=request)
    remedies = [attempt.remedy for attempt in trial.attempts()]
    assert remedies == [None, "slowconv", "kdiis", None, "slowconv", "kdiis", None]
    # Without that it goes on from there, to the end of the ladder and no farther.
    for _ in range(4):
        trial.run()
    assert [attempt.remedy for attempt in trial.attempts()][6:] == [None, "slowconv", "kdiis"]
