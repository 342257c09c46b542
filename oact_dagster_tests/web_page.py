"""Dagster's web page of a campaign, served by `oact web`, in a real headless Chromium."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import requests

from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.browser import chromium, find_chromium, unanswered
from oact_dagster_tests.waiting import PATIENCE_S, until

KEPT_IN: Final = "OACT_SCREENSHOTS"
"""The variable that names the folder in which pictures of the pages are kept."""

REPOSITORY: Final = {
    "repositoryLocationName": "oact_dagster.definitions",
    "repositoryName": "__repository__",
}
"""Where Dagster finds what a campaign defines."""

RELOAD_S: Final = 15.0
"""A page that has not come up is loaded again after so many seconds, then after twice as many, and so on."""

LIGHT, DARK = "Light", "Dark"
"""Themes of the page."""

CARDS: Final = ("description", "checks", "partitions", "status", "kind-tag", "unsynced-tag")
"""What the assets' cards in the graph show, by Dagster's names for it."""

_TABLE: Final = """
const cells = row => [...row.cells].map(cell => cell.innerText.trim());
for (const table of [...document.querySelectorAll('table')].reverse()) {
  if (!table.rows.length) continue;
  const heads = cells(table.rows[0]);
  if (arguments[0].every(name => heads.includes(name)))
    return [...table.rows].slice(1).map(
      row => Object.fromEntries(cells(row).map((text, place) => [heads[place], text])));
}
return null;
"""

_CHECKED: Final = """
const found = document.evaluate(arguments[0], document, null, XPathResult.FIRST_ORDERED_NODE_TYPE, null);
return found.singleNodeValue !== null && found.singleNodeValue.checked;
"""

_PICTURES: Final = """
return [...document.images].filter(one => one.src.startsWith('data:image/svg+xml')).map(one => {
  let behind = one, colour = '';
  do {
    behind = behind.parentElement;
    colour = behind ? getComputedStyle(behind).backgroundColor : 'rgb(255, 255, 255)';
  } while (behind && (colour === 'transparent' || colour.endsWith(', 0)')));
  return [one.alt, one.complete ? one.naturalWidth : 0, colour];
});
"""


@contextmanager
def served(campaign: Campaign, log: Path) -> Iterator["WebServer"]:
    """A campaign's web page and daemon, which end with it.

    Args:
        campaign: the settings.
        log: file for what the server prints.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {key: value for key, value in os.environ.items() if key not in ("OACT_CAMPAIGN", "DAGSTER_HOME")}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "oact_dagster", "web", str(campaign.folder), "--port", str(port)],
            env=kept,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    server = WebServer(f"http://127.0.0.1:{port}", process.pid)
    try:

        def serves() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return requests.get(f"{server.url}/server_info", timeout=5).ok
            except requests.ConnectionError:
                return False

        until(serves, "the web page")
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


class WebServer:
    """A running `oact web`."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    def graphql(self, query: str, **variables: Any) -> Any:
        """What the server answers.

        Args:
            query: in GraphQL.
            **variables: of the query.
        """
        answer = requests.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60
        )
        return answer.json()["data"]

    def sensor_is_on(self, name: str) -> bool:
        """Whether the daemon looks after a sensor."""
        query = """query($sensor: SensorSelector!) {
          sensorOrError(sensorSelector: $sensor) { ... on Sensor { sensorState { status } } } }"""
        sensor = {"sensorName": name, **REPOSITORY}
        return bool(self.graphql(query, sensor=sensor)["sensorOrError"]["sensorState"]["status"] == "RUNNING")


@contextmanager
def opened(server: WebServer, folder: Path, *, width: int = 1400, height: int = 1000) -> Iterator["Page"]:
    """A browser on a web page.

    Args:
        server: of the page.
        folder: for the browser's profile.
        width: of what the browser shows, pixels.
        height: likewise.
    """
    with chromium(folder) as browser:
        # A page that is left before all its scripts are there locks them in the browser's cache for the next one.
        browser.execute_cdp_cmd("Network.enable", {})
        browser.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
        page = Page(browser, server)
        page.resize(width, height)
        # Any page of the server, so that settings can be kept for it.
        browser.get(f"{server.url}/favicon.svg")
        page.keep("asset-graph-direction", "vertical")
        page.keep("asset-node-facets", CARDS)
        yield page


class Page:
    """A browser on the web page of a campaign."""

    def __init__(self, browser: Any, server: WebServer) -> None:
        self.browser = browser
        self.server = server

    def open(self, path: str, *words: str) -> None:
        """Open a page of the server, and wait until it shows these words.

        One that does not come up is loaded again, as somebody who looks at it would do; what it waited for is told on
        stderr.

        Args:
            path: of the page, with its parameters.
            *words: what it shows when it has come up.
        """
        # This entry of the navigation stands there as soon as the page knows of a job.
        expected = ("\nJobs\n", *words)
        limit = time.monotonic() + PATIENCE_S
        reload_s = RELOAD_S
        while True:
            self.browser.get_log("performance")
            self.browser.get(self.server.url + path)
            again = time.monotonic() + reload_s
            # A machine that is too slow for this limit is so the next time, too.
            reload_s *= 2
            while not all(word in self.text for word in expected):
                assert time.monotonic() < limit, f"{path} shows no {words}, but {self.text}"
                if time.monotonic() > again:
                    print(f"{path} is loaded again; it waits for {unanswered(self.browser)}", file=sys.stderr)
                    break
                time.sleep(0.05)
            else:
                return

    def keep(self, key: str, value: Any) -> None:
        """Set one of the settings that the page keeps in the browser."""
        self.browser.execute_script(
            "localStorage.setItem(arguments[0], arguments[1])", key, json.dumps(value)
        )

    def use_theme(self, theme: str) -> None:
        """Show pages that are opened from now on in this theme."""
        self.keep("dagster-theme", theme)

    def resize(self, width: int, height: int) -> None:
        """Set the size of what the browser shows, in pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    @property
    def text(self) -> str:
        """All that can be read in the page."""
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
        self.click_on(f"//*[normalize-space(text())='{words}']")

    def click_on(self, xpath: str) -> None:
        """Click the last of these elements, once one is there and can be clicked."""
        until(lambda: self.press(xpath), f"{xpath} in the page, which says {self.text}")

    def shows(self, *words: str) -> None:
        """Wait until the page shows all of these words."""
        until(
            lambda: all(word in self.text for word in words), f"{words} in the page, which says {self.text}"
        )

    def switch_on(self, sensor: str) -> None:
        """Switch a sensor on in the list of automations, which is open."""
        # A line has a box that chooses it, too, and gets its switch last.
        line = f"//div[@data-index][.//a[contains(@href, '/sensors/{sensor}')]]"

        def switched() -> bool:
            self.click_on(f"{line}//label[contains(@class, 'formatSwitch')]")
            # A click that came before the page knows who may do what has no effect.
            limit = time.monotonic() + 10
            while not self.server.sensor_is_on(sensor) and time.monotonic() < limit:
                time.sleep(0.1)
            return self.server.sensor_is_on(sensor)

        until(switched, f"{sensor} to be on")
        switch = f"{line}//label[contains(@class, 'formatSwitch')]/input"
        until(lambda: bool(self.browser.execute_script(_CHECKED, switch)), f"the switch of {sensor}")

    def table(self, *heads: str) -> list[dict[str, str]]:
        """The rows of the last table with these columns, once there is one: cells by the heads of their columns."""
        found: list[dict[str, str]] = []

        def look() -> bool:
            rows = self.browser.execute_script(_TABLE, heads)
            found[:] = rows or []
            return rows is not None

        until(look, f"a table with {heads} in the page, which says {self.text}")
        return found

    def pictures(self, *alts: str) -> list[tuple[str, int, str]]:
        """The pictures in the page, once they are these and are drawn, as :meth:`pictures_now` gives them.

        Args:
            *alts: what they show, in their order.
        """
        found: list[tuple[str, int, str]] = []

        def drawn() -> bool:
            found[:] = self.pictures_now()
            return [one[0] for one in found] == list(alts) and all(one[1] > 0 for one in found)

        until(drawn, f"the pictures {alts}")
        return found

    def pictures_now(self) -> list[tuple[str, int, str]]:
        """What each picture in the page shows, its width in pixels (0 until it is drawn), and the colour behind it."""
        return [(alt, width, colour) for alt, width, colour in self.browser.execute_script(_PICTURES)]

    def picture(self, area: Sequence[float] | None = None) -> bytes:
        """What the page shows now, as PNG.

        Args:
            area: left, top, width and height in pixels; None: all that the window shows.
        """
        asked: dict[str, Any] = {"format": "png"}
        if area is not None:
            asked["clip"] = dict(zip(("x", "y", "width", "height"), area, strict=True)) | {"scale": 1}
        return base64.b64decode(self.browser.execute_cdp_cmd("Page.captureScreenshot", asked)["data"])

    def keep_picture(self, name: str) -> None:
        """Write a picture of the page into the folder that ``OACT_SCREENSHOTS`` names, if it names one."""
        if folder := os.environ.get(KEPT_IN):
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{name}.png").write_bytes(self.picture())


def page_of(campaign: Campaign, folder: Path) -> Iterator[Page]:
    """A campaign's page in a browser; skips where there is no Chromium.

    Args:
        campaign: the settings.
        folder: for the server's log and the browser's profile.
    """
    find_chromium()
    with served(campaign, folder / "web.log") as server, opened(server, folder) as page:
        yield page
