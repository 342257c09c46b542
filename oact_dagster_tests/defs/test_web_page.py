"""The web page in a real headless Chromium, started by `oact web`."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from oact_dagster.defs.in_process import run_intake, run_selection
from oact_dagster.execution.selection import Selection
from oact_dagster.ledger.states import Status
from oact_dagster.ledger.store import Ledger
from oact_dagster_tests.browser import chromium, find_chromium
from oact_dagster_tests.campaigns import write_campaign
from oact_dagster_tests.engines import TestEngine
from oact_dagster_tests.waiting import until

pytestmark = pytest.mark.browser


class Page:
    """A browser on the web page of a campaign."""

    def __init__(self, browser: Any, url: str, engine: TestEngine, folder: Path) -> None:
        self.browser = browser
        self.url = url
        self.engine = engine
        self.folder = folder

    def open(self, path: str) -> None:
        self.browser.get(self.url + path)

    @property
    def text(self) -> str:
        return str(self.browser.execute_script("return document.body.innerText"))

    def press(self, xpath: str) -> bool:
        """Click the last element of these that can be clicked now."""
        from selenium.common.exceptions import WebDriverException

        for element in reversed(self.browser.find_elements("xpath", xpath)):
            try:
                element.click()
            except WebDriverException:
                continue
            return True
        return False

    def click(self, words: str) -> None:
        """Click what says these words, once it is there and can be clicked."""
        until(lambda: self.press(f"//*[normalize-space(text())='{words}']"), f"{words!r} in {self.text}")

    def shows(self, *words: str) -> None:
        until(
            lambda: all(word in self.text for word in words), f"{words} in the page, which says {self.text}"
        )

    def graphql(self, query: str, **variables: Any) -> Any:
        answer = requests.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60
        )
        return answer.json()["data"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    find_chromium()
    folder = tmp_path_factory.mktemp("web")
    engine = TestEngine(folder)
    engine.set("scf_not_converged", 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        campaign = write_campaign(folder / "c", 6, engine.path)
        assert run_intake(campaign).success
        assert not run_selection(campaign, Selection("0-3")).success
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, "-m", "oact_dagster", "web", str(campaign.folder), "--port", str(port)],
            stdout=(folder / "web.log").open("wb"),
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:

        def serves() -> bool:
            assert server.poll() is None, (folder / "web.log").read_text()
            try:
                return requests.get(f"{url}/server_info", timeout=5).ok
            except requests.ConnectionError:
                return False

        until(serves, "the web page")
        with chromium(folder) as browser:
            yield Page(browser, url, engine, campaign.folder)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


def test_the_graph_shows_the_campaign_from_csv_to_summary(page: Page) -> None:
    page.open("/asset-groups")
    page.shows("intake", "architector_csv", "job_ledger", "orca_inputs", "orca_results", "metric_summaries")
    page.shows("campaign_summary")
    assert "Join the Dagster community" not in page.text


def test_a_green_partition_shows_the_numbers_of_its_output(page: Page) -> None:
    page.open("/assets/orca_results?view=partitions&partition=1")
    page.shows("final_energy_Eh", "-76.0001", "scf_cycles", "12", "core_hours", "engine", "ORCA")


def test_a_red_partition_tells_its_class_and_its_last_lines(page: Page) -> None:
    page.open("/assets/orca_results?view=partitions&partition=2")
    page.shows("Failed (1)", "Materialized (3)", "Missing (2)")
    page.click("View all historical events (1)")
    page.shows("Observation")
    page.click("2")
    page.shows("failure_class", "scf_not_converged", "last_lines")
    page.shows("aborting the run")


def test_a_partition_chosen_in_the_page_runs_and_turns_green(page: Page) -> None:
    page.open("/assets/orca_results?view=partitions&partition=4")
    page.shows("Missing (2)")
    page.click("Materialize…")
    page.shows("Partition selection")
    page.click("Launch 1 run")
    until(lambda: 4 in page.engine.runs, "the calculation")

    def result() -> str:
        page.open("/assets/orca_results?view=partitions&partition=4")
        page.shows("Missing (")
        time.sleep(1)
        return page.text

    until(lambda: "Materialized (4)" in (text := result()) and "-76.0004" in text, "the green partition")
    assert page.engine.runs.count(4) == 1


def test_termination_in_the_page_ends_the_calculation_and_holds_the_structure(page: Page) -> None:
    page.engine.set("hang", 5)
    launched = page.graphql(
        """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
             __typename ... on LaunchRunSuccess { run { runId } } } }""",
        params={
            "selector": {
                "repositoryLocationName": "oact_dagster.definitions",
                "repositoryName": "__repository__",
                "pipelineName": "run_structures",
            },
            "runConfigData": '{"ops": {"run_selected": {"config": {"select": "5"}}}}',
        },
    )
    run_id = launched["launchRun"]["run"]["runId"]
    until(lambda: 5 in page.engine.runs, "the calculation")
    page.open(f"/runs/{run_id}")
    page.click("Terminate")

    def terminated() -> bool:
        # The dialog's own button comes after the page's.
        page.press("//button[starts-with(normalize-space(.), 'Terminate')]")
        return status() != "STARTED"

    def status() -> str:
        found = page.graphql(
            "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id
        )
        return str(found["runOrError"]["status"])

    until(terminated, f"the termination in {page.text}", 20)
    until(lambda: status() == "CANCELED", "the run to be cancelled")
    with Ledger(page.folder / "workflow.db") as ledger:
        structure = ledger.structures([5])[5]
        assert (structure.status, structure.held, structure.fail_count) == (Status.TO_RUN, True, 0)


def test_the_summary_shows_counts_and_a_picture(page: Page) -> None:
    page.open("/assets/campaign_summary")
    page.shows("completed", "histograms", "scf_not_converged")
    page.click("[Show Markdown]")
    width = (
        "return Math.max(0, ...[...document.images].map(i => i.alt === 'histograms' ? i.naturalWidth : 0))"
    )
    until(lambda: page.browser.execute_script(width) == 800, "the picture")
