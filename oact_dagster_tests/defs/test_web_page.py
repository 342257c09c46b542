"""The web page of the demo campaign in a real headless Chromium, started by `oact web`."""

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from oact_dagster.attempts.selection import Selection
from oact_dagster.defs.in_process import run_intake, run_selection
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster.pictures.palette import INK, SERIES, STATUS, contrast, luminance
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.browser import find_chromium
from oact_dagster_tests.demo_campaign import MAX_GRADIENT, STRETCHED, demo_campaign
from oact_dagster_tests.requirements import lacking
from oact_dagster_tests.waiting import until
from oact_dagster_tests.web_page import DARK, LIGHT, REPOSITORY, Page, page_of

pytestmark = [pytest.mark.browser, pytest.mark.engine]

FED, TERMINATED, CHOSEN = 26, 27, 30
"""Left to the tests; all others but the stretched one are completed."""

CHARTS = (
    "status",
    "progress",
    "energy_per_atom",
    "gradient",
    "scf_cycles",
    "wall_time",
    "basis_functions",
    "core_hours",
    "failures_by_class",
    "failures_by_metal",
    "failures_by_host",
)

HOLD = """
import os, time
from pathlib import Path
# A calculation waits as long as there is a file here that is called as its job folder.
file = Path(__file__).parent / Path.cwd().name
while file.exists():
    file.write_text(str(os.getpid()))
    time.sleep(0.05)
"""


class House:
    """The demo campaign, and the page on it."""

    def __init__(self, campaign: Campaign, hold: Path, page: Page) -> None:
        self.campaign = campaign
        self.hold = hold
        self.page = page

    def ledger(self) -> Ledger:
        return Ledger(self.campaign.ledger)

    def results(self) -> dict[int, Mapping[str, Any]]:
        """What the outputs of the completed structures say."""
        with self.ledger() as ledger:
            structures = ledger.structures.of(list(range(STRETCHED + 1)))
            completed = [i for i, one in structures.items() if one.status is Status.COMPLETED]
            return {i: many[-1].result for i, many in ledger.history.attempts_of(completed).items()}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    find_chromium()
    if importlib.util.find_spec("tblite") is None:
        lacking("engine", "pip install 'oact-dagster[demo]'")
    folder = tmp_path_factory.mktemp("web")
    hold = folder / "hold"
    hold.mkdir()
    (hold / "sitecustomize.py").write_text(HOLD)
    # Python runs such a module when it starts: only the calculations see this one.
    path = os.pathsep.join([str(hold), *filter(None, sys.path)])
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        campaign = demo_campaign(
            folder / "demo", {"launcher": {"environment": {"PYTHONPATH": path}, "stop_grace_s": 0.5}}
        )
        assert run_intake(campaign).success
        assert not run_selection(campaign, Selection("0-25,28,29,31")).success
        for _ in range(campaign.retry.max_failures - 1):
            assert not run_selection(campaign, Selection(str(STRETCHED))).success
    for page in page_of(campaign, folder):
        yield House(campaign, hold, page)


@pytest.fixture
def page(house: House) -> Page:
    house.page.use_theme(LIGHT)
    house.page.resize(1400, 1000)
    return house.page


def readable_on(background: str, theme: str) -> None:
    """The pictures' colours can be told from what is behind them."""
    red, green, blue = (int(part) for part in background.removeprefix("rgb(").rstrip(")").split(",")[:3])
    behind = f"#{red:02x}{green:02x}{blue:02x}"
    assert luminance(behind) > 0.8 if theme == LIGHT else luminance(behind) < 0.05, behind
    for colour in (INK, *SERIES, *STATUS.values()):
        assert contrast(colour, behind) >= 3.0, (colour, behind)


def test_the_graph_shows_the_campaign_from_csv_to_summary(page: Page) -> None:
    page.resize(1400, 2000)
    page.open(
        "/asset-groups",
        "intake",
        "architector_csv",
        "job_ledger",
        "orca_inputs",
        "orca_results",
        "metric_summaries",
    )
    page.shows("campaign_summary", "SQLite", "orca", "Python", "Parquet")
    page.shows("Reads the whole CSV", "One row of the CSV", "The structure's row in workflow.db")
    page.shows("orca.inp in the structure", "The structure's calculation", "The structure's metrics")
    page.shows("The whole campaign", f"{STRETCHED + 1} partitions", "6 / 6 Passed")
    until(lambda: "Loading" not in page.text, "the assets' statuses")
    assert "Join the Dagster community" not in page.text
    page.keep_picture("asset-graph")


def test_an_asset_has_its_columns_with_units_and_its_code(page: Page) -> None:
    page.open(
        "/assets/orca_results?view=overview",
        "Columns",
        "final_energy_Eh",
        "FINAL SINGLE POINT ENERGY, Eh",
        "assets.py",
    )
    page.keep_picture("asset")


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_a_green_partition_shows_its_numbers_and_how_it_converged(
    house: House, page: Page, theme: str
) -> None:
    page.use_theme(theme)
    result = house.results()[25]
    page.open(
        "/assets/orca_results?view=partitions&partition=25", "Failed (1)", "Materialized (28)", "Missing (3)"
    )
    page.shows("job_dir", "output_file", "host", "finished")
    page.shows("final_energy_Eh", repr(result["final_energy"]), "scf_cycles", "core_hours", "NOT ORCA")
    page.shows("max_gradient_component_Eh_per_bohr", repr(result["max_forces"]), "failed_checks")
    page.keep_picture(f"green-{theme}")
    page.click("[Show Markdown]")
    [(_, width, behind)] = page.pictures("convergence")
    assert width == 320
    readable_on(behind, theme)
    page.keep_picture(f"convergence-{theme}")


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_a_row_of_the_csv_shows_its_geometry(page: Page, theme: str) -> None:
    page.use_theme(theme)
    page.open(
        "/assets/architector_csv?view=partitions&partition=23", "C20H28O8Th", "multiplicity", "Th4_acac4"
    )
    page.click("[Show Markdown]")
    [(_, width, behind)] = page.pictures("geometry")
    assert width == 240
    readable_on(behind, theme)
    page.keep_picture(f"geometry-{theme}")


def test_a_red_partition_tells_its_class_its_attempts_and_its_last_lines(page: Page) -> None:
    page.open(f"/assets/orca_results?view=partitions&partition={STRETCHED}", "Failed (1)")
    page.click("View all historical events (3)")
    page.shows("Observation")
    page.click_on(
        f"(//tr[.//*[normalize-space(text())='Observation']])[1]//*[normalize-space(text())='{STRETCHED}']"
    )
    page.shows("failure_class", "scf_not_converged", "last_lines", "job_dir")
    attempts = page.table("attempt", "failure_class", "remedy", "host", "elapsed_s")
    assert [row["attempt"] for row in attempts] == ["1", "2", "3"]
    assert {row["failure_class"] for row in attempts} == {"scf_not_converged"}
    remedies = [row["remedy"] for row in attempts]
    assert remedies[0] == "none" and len(set(remedies)) == 3
    lines = [row["output"] for row in page.table("output")]
    assert any("SCF NOT CONVERGED AFTER 500 CYCLES" in line for line in lines)
    assert any("aborting the run" in line for line in lines)
    page.keep_picture("red")


def test_the_checks_tell_how_many_results_break_a_rule_and_which_are_the_worst(
    house: House, page: Page
) -> None:
    gradients = {index: float(result["max_forces"]) for index, result in house.results().items()}
    bad = sorted(
        (index for index in gradients if gradients[index] > MAX_GRADIENT), key=lambda i: -gradients[i]
    )
    assert bad
    page.open(
        "/assets/orca_results?view=checks&checkDetail=terminated_normally",
        "electron_parity",
        "one_level_of_theory",
        "scf_converged",
        "optimization_converged",
    )
    page.shows("Passed", f"holds for all {len(gradients)} results")
    page.keep_picture("checks-orca_results")
    page.open(
        "/assets/metric_summaries?view=checks&checkDetail=forces_below_limit",
        "energy_in_range",
        "metal_bound",
        "spin_contamination",
    )
    page.shows(f"broken by {len(bad)} of {len(gradients)} results", "judged", "Failed")
    worst = page.table("partition", "found")
    assert [int(row["partition"]) for row in worst] == bad
    page.keep_picture("checks-metric_summaries")


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_summary_shows_its_tables_and_its_pictures(house: House, page: Page, theme: str) -> None:
    page.use_theme(theme)
    completed = len(house.results())
    page.open("/assets/campaign_summary?view=events")
    statuses = {row["status"]: row["structures"] for row in page.table("status", "structures", "percent")}
    assert statuses == {
        "to_run": "3",
        "running": "0",
        "completed": str(completed),
        "failed": "1",
        "timeout": "0",
    }
    assert page.table("failure_class", "structures") == [
        {"failure_class": "scf_not_converged", "structures": "1"}
    ]
    assert sum(int(row["failed"]) for row in page.table("metal", "completed", "failed")) == 1
    assert {row["rule"] for row in page.table("rule", "severity", "broken")} >= {
        "forces_below_limit",
        "metal_bound",
    }
    assert "SCF cycles" in [row["quantity"] for row in page.table("quantity", "median")]
    page.shows("core_hours_good", "core_hours_lost", "results.parquet", "NOT ORCA")
    assert "Unsynced" not in page.text
    page.keep_picture(f"summary-{theme}")
    page.click("[Show Markdown]")
    pictures = page.pictures(*CHARTS)
    assert {width for _, width, _ in pictures} == {640}
    readable_on(pictures[0][2], theme)
    page.keep_picture(f"charts-{theme}")
    page.resize(1400, 3700)
    page.keep_picture(f"charts-all-{theme}")


def test_a_partition_chosen_in_the_page_runs_and_turns_green(house: House, page: Page) -> None:
    page.open(f"/assets/orca_results?view=partitions&partition={CHOSEN}", "Missing (3)")
    page.click("Materialize…")
    page.shows("Partition selection")
    page.keep_picture("materialize")
    page.click("Launch 1 run")
    until(lambda: CHOSEN in house.results(), "the calculation")
    energy = house.results()[CHOSEN]["final_energy"]

    def green() -> bool:
        page.open(
            f"/assets/orca_results?view=partitions&partition={CHOSEN}",
            "Missing (2)",
            "Latest materialization",
        )
        return "Materialized (29)" in page.text and repr(energy) in page.text

    until(green, "the green partition")
    page.keep_picture("turned-green")
    with house.ledger() as ledger:
        assert len(ledger.history.attempts_of([CHOSEN])[CHOSEN]) == 1


def test_termination_in_the_page_ends_the_calculation_and_holds_the_structure(
    house: House, page: Page
) -> None:
    file = house.hold / f"job_{TERMINATED}"
    file.write_text("")
    launched = page.server.graphql(
        """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
             __typename ... on LaunchRunSuccess { run { runId } } } }""",
        params={
            "selector": {**REPOSITORY, "pipelineName": "run_structures"},
            "runConfigData": f'{{"ops": {{"run_selected": {{"config": {{"select": "{TERMINATED}"}}}}}}}}',
        },
    )
    run_id = launched["launchRun"]["run"]["runId"]
    until(lambda: file.read_text() != "", "the calculation")
    calculation = psutil.Process(int(file.read_text()))
    page.open(f"/runs/{run_id}")
    page.click("Terminate")
    page.keep_picture("terminate")

    def terminated() -> bool:
        # The dialog's own button comes after the page's.
        page.press("//button[starts-with(normalize-space(.), 'Terminate')]")
        return status() != "STARTED"

    def status() -> str:
        found: Any = page.server.graphql(
            "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id
        )
        return str(found["runOrError"]["status"])

    until(terminated, f"the termination in {page.text}")
    until(lambda: status() == "CANCELED", "the run to be cancelled")
    assert not calculation.is_running()
    with house.ledger() as ledger:
        structure = ledger.structures.of([TERMINATED])[TERMINATED]
        assert (structure.status, structure.held, structure.fail_count) == (Status.TO_RUN, True, 0)


def test_a_sensor_is_switched_on_says_what_it_does_and_does_it(house: House, page: Page) -> None:
    with house.ledger() as ledger:
        completed = ledger.figures.count_by_status()[Status.COMPLETED]
        due = ledger.figures.count_by_status()[Status.TO_RUN] - ledger.figures.count_held()
    page.open(
        "/automation", "feed_sensor", "harvest_sensor", "intake_sensor", "retry_sensor", "timeout_sensor"
    )
    page.switch_on("feed_sensor")
    page.keep_picture("automation")
    page.open(
        "/locations/oact_dagster.definitions/sensors/feed_sensor", "Keeps max_in_flight structures running"
    )
    told = f"{completed} of {STRETCHED + 1} completed, 0 running"
    page.shows("1 run requested", "View logs", told, f"{due} more in 1 run")
    page.keep_picture("sensor")
    until(lambda: FED in house.results(), "the structure that was left")
