"""Time until the Partitions page of `orca_results` can be used in a large campaign.

Run ``python benchmarks/partitions_page.py``. A campaign of 10,000 water molecules (``--structures``) is taken in and
set to the middle of its life as in ``benchmarks/campaign.py``: most have a materialization of ``orca_results``, some
have failed, some are running. One event of each kind is a real Dagster event, the others are copies in SQL. `oact web`
is started, and headless Chromium opens the page of one structure. Two times are measured: from the start of the
navigation until the page shows the counts by status and the structure's result, and from a click on another structure
in the list until its result is shown. They are given for a server and a browser that have just started, for a new
browser, and for the same browser again, as medians of ``--loads`` (3), each with its own server. Needs Debian's
packages chromium and chromium-driver.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import psutil
from campaign import make, middle_of_life, show
from measure import peak_mb

from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.browser import chromium
from oact_dagster_tests.web_page import Page, WebServer, served

GOAL_S: Final = 5.0
PATIENCE_S: Final = 120.0
FIRST, SECOND = 10, 12
"""Both are completed, and near one another in the list."""

LOADS: Final = ("new server, new browser", "new browser", "again in the same browser")


def load(page: Page, shown: dict[str, int], structures: int) -> tuple[float, float]:
    """Return the seconds until the page shows statuses and a result, and from a click on another one to its result."""
    words = (
        f"Failed ({shown['failed']})",
        f"Materialized ({shown['materialized']})",
        f"Materializing ({shown['in progress']})",
        f"Missing ({structures - sum(shown.values())})",
        "final_energy_eh",
    )
    begun = time.perf_counter()
    page.browser.get(f"{page.server.url}/assets/orca_results?view=partitions&partition={FIRST}")
    wait(page, lambda text: all(word in text for word in words))
    usable = time.perf_counter() - begun
    begun = time.perf_counter()
    page.click(str(SECOND))
    # The heading of the partition's details, with its status.
    wait(page, lambda text: f"\n{SECOND}\nMaterialized\n" in text and "final_energy_eh" in text)
    return usable, time.perf_counter() - begun


def wait(page: Page, enough: Callable[[str], bool]) -> None:
    """Wait until the page shows everything needed."""
    limit = time.perf_counter() + PATIENCE_S
    while not enough(text := page.text):
        if time.perf_counter() > limit:
            raise SystemExit(f"the page does not appear:\n{text}")
        time.sleep(0.02)


def peaks(server: WebServer) -> dict[str, float]:
    """Return the peak memory of the web server and of the daemon, each with its code server, MB."""
    found = {}
    for one in psutil.Process(server.pid).children():
        name = "daemon" if "dagster._daemon" in one.cmdline() else "web server"
        found[name] = sum(peak(each.pid) for each in [one, *one.children(recursive=True)])
    return found


def peak(pid: int) -> float:
    """Return the peak memory of a process, MB; 0 if it has just ended."""
    try:
        return peak_mb(pid)
    except OSError:
        return 0.0


def measure(
    campaign: Campaign, shown: dict[str, int], structures: int
) -> tuple[list[tuple[float, float]], dict[str, float]]:
    """Measure one load of each kind, and the servers' peak memory after them."""
    with tempfile.TemporaryDirectory() as name, served(campaign, Path(name) / "log") as server:
        times = []
        with chromium(Path(name) / "first") as browser:
            page = Page(browser, server)
            times.append(load(page, shown, structures))
            again = load(page, shown, structures)
        with chromium(Path(name) / "second") as browser:
            times.append(load(Page(browser, server), shown, structures))
        return [*times, again], peaks(server)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--structures", type=int, default=10_000)
    parser.add_argument(
        "--loads", type=int, default=3, help="number of loads of each kind; the medians are printed"
    )
    options = parser.parse_args()
    os.environ.pop("DAGSTER_HOME", None)
    with tempfile.TemporaryDirectory() as folder:
        campaign = make(Path(folder), options.structures)
        middle_of_life(campaign, options.structures)
        shown = show(campaign)
        told = ", ".join(f"{number:,} {word}" for word, number in shown.items())
        print(f"{options.structures:,} partitions of orca_results: {told}", file=sys.stderr)
        measured = [measure(campaign, shown, options.structures) for _ in range(options.loads)]
    print("| load of the Partitions page | usable, s | another partition chosen, s | 5 s or less |")
    print("|---|---|---|---|")
    for place, name in enumerate(LOADS):
        usable = median(times[place][0] for times, _ in measured)
        chosen = median(times[place][1] for times, _ in measured)
        met = "met" if usable <= GOAL_S else "NOT MET"
        print(f"| {name} | {usable:.2f} | {chosen:.2f} | {met} |")
    for name in ("web server", "daemon"):
        most = max(found.get(name, 0.0) for _, found in measured)
        print(f"| peak memory of the {name} with its code server, MB | {most:.0f} | | |")


if __name__ == "__main__":
    main()
