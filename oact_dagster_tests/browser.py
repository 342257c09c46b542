"""A real headless Chromium for tests, driven by selenium."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oact_dagster_tests.requirements import lacking

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1500,1100"
)
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND"
"""A flag: no name is resolved, not even this machine's."""


@contextmanager
def chromium(folder: Path, *flags: str) -> Iterator[Any]:
    """A browser with its profile in a folder; skips, or fails where one is required, if there is none.

    Args:
        folder: of its profile.
        *flags: further ones of Chromium's command line.
    """
    browser, driver = find_chromium()
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in [*FLAGS.split(), *flags, f"--user-data-dir={folder / 'profile'}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield opened
    finally:
        opened.quit()


def find_chromium() -> tuple[str, str]:
    """Paths of Chromium and of its driver."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        lacking("browser", "install Debian's packages chromium and chromium-driver")
    return str(browser), str(driver)


def console(browser: Any) -> list[str]:
    """What the console said since it was last asked."""
    return [str(entry["message"]) for entry in browser.get_log("browser")]


def requested(browser: Any) -> list[str]:
    """The address of everything that was asked for since this was last asked.

    Left out are pictures within the page, what the page's own policy kept it from, and the browser's own pages: it
    opens one when it starts.
    """
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    kept_back = {
        message["params"]["requestId"]
        for message in messages
        if message["method"] == "Network.loadingFailed" and message["params"].get("blockedReason") == "csp"
    }
    urls = [
        str(message["params"]["request"]["url"])
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
        and message["params"]["requestId"] not in kept_back
    ]
    return [url for url in urls if not url.startswith(("data:", "chrome:"))]


def unanswered(browser: Any) -> list[str]:
    """The address of everything that was asked for since the log was last read, and has not come."""
    waiting: dict[str, str] = {}
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            waiting[message["params"]["requestId"]] = str(message["params"]["request"]["url"])
        elif message["method"] in ("Network.loadingFinished", "Network.loadingFailed"):
            waiting.pop(message["params"]["requestId"], None)
    return list(waiting.values())
