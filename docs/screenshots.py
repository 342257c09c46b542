"""Make the pictures of the README and the docs from the real pages, into ``docs/images``.

Run ``python docs/screenshots.py`` from a clone, with ``pip install -e '.[test]'`` and Debian's packages chromium and
chromium-driver (``--to FOLDER`` puts the pictures elsewhere). It makes the demo campaign in a temporary folder, with
one structure more that fails, runs all but two of its structures, opens `oact web` in headless Chromium, switches the
sensors on, which run the rest, and takes a picture of each page, and of the report. That takes about a minute. The
pictures are in the light theme; with Pillow (ASE brings it) they get a palette of 256 colours, else they stay as
Chromium writes them.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from oact_dagster.ledger.read_only import open_reader
from oact_dagster.ledger.states import Status
from oact_dagster.settings.campaign import Campaign
from oact_dagster_tests.demo_campaign import COMPLEXES, STRETCHED, demo_campaign
from oact_dagster_tests.waiting import until
from oact_dagster_tests.web_page import LIGHT, Page, opened, served

IMAGES: Final = Path(__file__).parent / "images"
LARGEST_KB: Final = 150
MARGIN: Final = 12
"""Pixels around what a picture is cut to."""

GREEN: Final = 30
"""Uranyl with five waters."""
FLOWER: Final = 23
"""Th(acac)4, the geometry that is shown."""

_BOX: Final = """
const boxes = [...document.querySelectorAll(arguments[0])].map(one => one.getBoundingClientRect())
  .filter(one => one.width > 0);
const left = Math.min(...boxes.map(one => one.left)), top = Math.min(...boxes.map(one => one.top));
return [left, top, Math.max(...boxes.map(one => one.right)) - left, Math.max(...boxes.map(one => one.bottom)) - top];
"""

_TO_THE_TOP: Final = """
for (const one of document.querySelectorAll('*')) { one.scrollTop = 0; one.scrollLeft = 0; }
"""


class Album:
    """The pictures, as they are taken."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page = page
        page.browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        self.folder = folder

    def take(self, name: str, area: tuple[float, float, float, float] | None = None) -> None:
        """Take a picture of what the page shows, or of a part of it (left, top, width, height; pixels)."""
        # What fades in has done so by then.
        time.sleep(0.7)
        content = smaller(self.page.picture(area))
        size = len(content) / 1e3
        if size > LARGEST_KB:
            raise SystemExit(f"{name}.png has {size:.0f} kB; {LARGEST_KB} at most")
        (self.folder / f"{name}.png").write_bytes(content)
        print(f"{self.folder / name}.png: {size:.0f} kB", flush=True)

    def take_content(self, name: str, bottom: float | None = None) -> None:
        """Take the page without the navigation on its left."""
        width, height = self.page.browser.execute_script("return [innerWidth, innerHeight]")
        left = self.box("a[href='/overview'], a[href='/runs']")
        begin = left[0] + left[2] + 18
        self.take(name, (begin, 0, width - begin, bottom or height))

    def take_parts(self, name: str, selector: str, *, margin: float = 0, height: float | None = None) -> None:
        """Take what these elements cover together, and at most so much of it from its top."""
        # A click may have scrolled what it needed into sight.
        self.page.browser.execute_script(_TO_THE_TOP)
        x, y, wide, high = self.box(selector)
        high = min(high, height) if height else high
        self.take(name, (x - margin, y - margin, wide + 2 * margin, high + 2 * margin))

    def box(self, selector: str) -> Any:
        """Left, top, width and height of all these elements together, pixels."""
        return self.page.browser.execute_script(_BOX, selector)


def smaller(png: bytes) -> bytes:
    """The picture with a palette, where Pillow is there."""
    try:
        from PIL import Image
    except ImportError:
        return png
    out = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def oact(*arguments: str | Path) -> None:
    """Run ``oact``; that a structure fails is no error here."""
    done = subprocess.run(
        [sys.executable, "-m", "oact_dagster", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)


def completed(campaign: Campaign) -> int:
    """How many structures have a result."""
    with open_reader(campaign.ledger) as ledger:
        return ledger.figures.count_by_status().get(Status.COMPLETED, 0)


def sensors(album: Album, campaign: Campaign) -> None:
    """The switches, and the line of a tick; what was left is run."""
    page = album.page
    page.resize(1200, 560)
    page.open("/automation")
    for name in ("feed", "retry", "timeout", "harvest", "intake"):
        page.switch_on(f"{name}_sensor")
    page.resize(1480, 720)
    page.open("/locations/oact_dagster.definitions/sensors/feed_sensor", "Keeps max_in_flight")
    page.shows("1 run requested", f"{COMPLEXES - 2} of {COMPLEXES + 1} completed", "View logs")
    album.take_content("feed-sensor", 590)
    until(lambda: completed(campaign) == COMPLEXES, "the last structures")
    page.resize(1200, 560)
    page.open("/automation", "timeout_sensor")
    album.take_content("sensors", 490)


def structures(album: Album) -> None:
    """A green and a red partition, and the pictures of a structure."""
    page = album.page
    page.resize(1300, 1170)
    page.open(
        f"/assets/orca_results?view=partitions&partition={GREEN}",
        "final_energy_Eh",
        "input_hash",
        f"Materialized ({COMPLEXES})",
    )
    album.take_content("green-partition", 1140)
    page.click("[Show Markdown]")
    page.pictures("convergence")
    album.take_parts("convergence", ".bp5-dialog", height=200)
    page.open(f"/assets/architector_csv?view=partitions&partition={FLOWER}")
    page.click("[Show Markdown]")
    page.pictures("geometry")
    album.take_parts("geometry", ".bp5-dialog", height=300)
    page.resize(1800, 1500)
    page.open(f"/assets/orca_results?view=partitions&partition={STRETCHED}")
    page.click("View all historical events (3)")
    page.click_on(
        f"(//tr[.//*[normalize-space(text())='Observation']])[1]//*[normalize-space(text())='{STRETCHED}']"
    )
    page.shows("last_lines")
    album.take_parts("red-partition", ".bp5-dialog", height=1222)


def campaign_pages(album: Album) -> None:
    """The graph, the summary and the checks."""
    page = album.page
    page.resize(1200, 2000)
    page.open("/asset-groups", f"{COMPLEXES + 1} partitions", "6 / 6 Passed", "Parquet")
    until(lambda: "Loading" not in page.text, "the assets' statuses")
    album.take_parts("asset-graph", "foreignObject", margin=MARGIN)
    page.resize(1200, 1200)
    page.open("/assets/campaign_summary?view=events")
    page.click("[Show Markdown]")
    until(lambda: "progress" in [one[0] for one in page.pictures_now()], "the pictures")
    album.take_parts("campaign-summary", ".bp5-dialog", height=1075)
    page.resize(1400, 1000)
    page.open(
        "/assets/metric_summaries?view=checks&checkDetail=forces_below_limit", "broken by", "judged", "Plots"
    )
    album.take_content("checks", 795)


def report(album: Album, campaign: Campaign) -> None:
    """The top of the report."""
    oact("report", campaign.file)
    album.page.resize(1200, 956)
    album.page.browser.get((campaign.folder / "report.html").as_uri())
    album.take("report")


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, default=IMAGES, help="folder of the pictures")
    folder = parser.parse_args().to
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        campaign = demo_campaign(Path(name) / "demo")
        oact("run", campaign.file, "--structures", f"0-{COMPLEXES - 3},{STRETCHED}")
        for _ in range(campaign.retry.max_failures - 1):
            oact("run", campaign.file, "--structures", str(STRETCHED))
        with served(campaign, Path(name) / "web.log") as server, opened(server, Path(name)) as page:
            page.use_theme(LIGHT)
            album = Album(page, folder)
            sensors(album, campaign)
            structures(album)
            campaign_pages(album)
            report(album, campaign)


if __name__ == "__main__":
    main()
