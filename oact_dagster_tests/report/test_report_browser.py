"""The report in a real headless Chromium without a network: it asks for nothing, sorts, searches and scrolls."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oact_dagster.quality.rules import Severity
from oact_dagster_tests.browser import NO_NETWORK, chromium, console, requested
from oact_dagster_tests.report.samples import NASTY, large, quality_of, rule, small, written
from oact_dagster_tests.waiting import until

pytestmark = pytest.mark.browser

MANY = 100_000


class Report:
    """A browser on a report."""

    def __init__(self, browser: Any, path: Path) -> None:
        self.browser = browser
        self.url = path.as_uri()
        requested(browser)
        console(browser)
        browser.get(self.url)
        until(lambda: self.js("document.documentElement.dataset.ready") is not None, "the tables")

    def js(self, expression: str) -> Any:
        return self.browser.execute_script(f"return {expression}")

    def table(self, name: str) -> str:
        return f"document.querySelector('[data-table={name}]')"

    def head(self, table: str, label: str) -> Any:
        return self.browser.find_element(
            "xpath", f"//*[@data-table='{table}']//th/button[normalize-space(text())='{label}']"
        )

    def column(self, table: str, place: int) -> list[str]:
        """The texts of a column, as far as the page has its rows now."""
        return list(
            self.js(
                f"[...{self.table(table)}.querySelectorAll('tbody tr[data-row]')]"
                f".map(row => row.cells[{place}].textContent)"
            )
        )

    def search(self, table: str, words: str) -> None:
        box = self.browser.find_element("css selector", f"[data-table={table}] input")
        box.clear()
        box.send_keys(words)

    def count(self, table: str) -> str:
        return str(self.js(f"{self.table(table)}.querySelector('[role=status]').textContent"))

    def until_count(self, table: str, text: str) -> None:
        until(lambda: self.count(table) == text, repr(text))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("browser"), NO_NETWORK) as opened:
        yield opened


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rules = [rule("energy_in_range", Severity.WARNING, 4, 1, [(3, NASTY)])]
    quality = quality_of({3: ("energy_in_range",)}, rules)
    return written(small(tmp_path_factory.mktemp("small")), quality=quality)


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(large(tmp_path_factory.mktemp("large"), MANY))


@pytest.fixture
def report(browser: Any, small_file: Path) -> Report:
    return Report(browser, small_file)


def test_it_asks_for_nothing_and_the_console_is_silent(report: Report) -> None:
    report.browser.find_element("css selector", "[data-table=structures] tbody button").click()
    assert requested(report.browser) == [report.url]
    assert console(report.browser) == []


def test_the_policy_forbids_what_would_be_smuggled_in(report: Report) -> None:
    report.browser.execute_script(
        "const script = document.createElement('script'); script.textContent = 'window.smuggled = 1';"
        "document.body.append(script); const image = new Image(); image.src = 'http://example.org/x.png';"
        "document.body.append(image)"
    )
    until(lambda: len(console(report.browser)) >= 1, "the console's word on it")
    assert report.js("window.smuggled === undefined")
    assert not [url for url in requested(report.browser) if url.startswith("http")]


def test_a_click_on_a_head_sorts_numbers_as_numbers_both_ways(report: Report) -> None:
    head = report.head("structures", "energy, Eh")
    cell = head.find_element("xpath", "..")
    assert cell.get_attribute("aria-sort") == "none"
    head.click()
    rising = ["-1000.125000", "-100.250000", "-40.500000", "-9.500000"]
    assert report.column("structures", 7) == [*rising, "", "", ""]
    assert cell.get_attribute("aria-sort") == "ascending"
    head.click()
    assert report.column("structures", 7) == [*reversed(rising), "", "", ""]
    assert cell.get_attribute("aria-sort") == "descending"
    report.head("structures", "SCF cycles").click()
    assert report.column("structures", 10) == ["9", "11", "20", "100", "", "", ""]
    assert cell.get_attribute("aria-sort") == "none"


def test_words_sort_by_the_alphabet_and_computed_columns_as_numbers(report: Report) -> None:
    report.head("structures", "formula").click()
    assert report.column("structures", 1) == ["CH4", "Cl2U", "N2O2U", "NpO2", "O2Th", "O2U", "OPu"]
    report.head("structures", "core-hours").click()
    assert report.column("structures", 13) == ["0.0667", "0.0667", "2.00", "8.00", "", "", ""]
    assert report.column("structures", 11) == ["0:01:00", "0:01:00", "0:30:00", "2:00:00", "", "", ""]


def test_a_head_sorts_by_keyboard(report: Report) -> None:
    from selenium.webdriver.common.keys import Keys

    head = report.head("structures", "SCF cycles")
    report.browser.execute_script("arguments[0].focus()", head)
    report.browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert report.column("structures", 10)[:2] == ["9", "11"]
    report.browser.switch_to.active_element.send_keys(Keys.SPACE)
    assert report.column("structures", 10)[:2] == ["100", "20"]


def test_a_search_finds_words_and_numbers(report: Report) -> None:
    for words, found in (
        ("timeout", ["5"]),
        ("STATUS:completed scf>10", ["1", "2", "3"]),
        ("status:completed scf<=11 gradient>=0.003", ["2"]),
        ("metal=u energy<-100", ["3"]),
        ("energy_in_range", ["3"]),
        ("4", ["4"]),
        ("U", ["0", "3", "5"]),
        ("U timeout", ["5"]),
        ("wall>3600", ["1"]),
        ("script", ["4"]),
        ("nothing_like_that", []),
    ):
        report.search("structures", words)
        until(lambda found=found: report.column("structures", 0) == found, f"{found} of {words!r}")
        assert report.count("structures") == f"{len(found)} of 7 rows"
    report.search("structures", "")
    report.until_count("structures", "7 rows")


def test_a_search_and_a_sort_go_together(report: Report) -> None:
    report.head("structures", "energy, Eh").click()
    report.search("structures", "completed")
    report.until_count("structures", "4 of 7 rows")
    assert report.column("structures", 0) == ["3", "1", "2", "0"]


def test_texts_of_others_are_shown_as_they_are(report: Report) -> None:
    [message, _] = report.column("failures", 2)
    assert message.startswith('</script><script>alert("1")</script>')
    assert report.js("document.images.length") == report.js("document.querySelectorAll('figure img').length")


def test_a_click_on_a_row_opens_its_structure(report: Report) -> None:
    report.browser.find_element(
        "xpath", "//*[@data-table='failures']//td/button[normalize-space(text())='4']"
    ).click()
    text = report.js("document.getElementById('detail').innerText")
    assert "Structure 4: OPu" in text and "memory" in text and "node9" in text
    assert report.js("document.getElementById('detail').querySelectorAll('tbody tr').length") == 2
    sizes = report.js("[...document.querySelectorAll('#detail img')].map(image => image.naturalWidth)")
    assert sizes == [240]
    report.browser.find_element("css selector", "#detail .close").click()
    assert not report.js("document.getElementById('detail').open")


def test_one_of_a_rules_worst_opens_its_structure(report: Report) -> None:
    report.browser.execute_script("document.querySelector('#quality details').open = true")
    report.browser.find_element("css selector", "#quality button[data-open='3']").click()
    assert "Structure 3: Cl2U" in report.js("document.getElementById('detail').innerText")


def test_many_rows_scroll_and_few_are_in_the_page(browser: Any, large_file: Path) -> None:
    report = Report(browser, large_file)
    scroller = f"{report.table('structures')}.querySelector('.scroller')"
    seen = report.js(f"Math.ceil({scroller}.clientHeight / 26)")
    assert report.count("structures") == "100,000 rows"
    assert report.column("structures", 0)[:2] == ["0", "1"]
    assert seen > 15
    until(lambda: seen <= len(report.column("structures", 0)) < 60, "a page full of rows")
    browser.execute_script(f"{scroller}.scrollTop = 50000 * 26")
    until(lambda: "50000" in report.column("structures", 0), "the middle")
    assert len(report.column("structures", 0)) < 60
    browser.execute_script(f"{scroller}.scrollTop = 1e9")
    until(lambda: report.column("structures", 0)[-1] == "99999", "the last row")
    shown = report.js(
        f"[...{scroller}.querySelectorAll('tr[data-row]')].at(-1).getBoundingClientRect().bottom"
        f" - {scroller}.getBoundingClientRect().bottom"
    )
    assert -40 < shown <= 1
    assert console(browser) == [] and requested(browser) == [report.url]


def test_many_rows_sort_and_search(browser: Any, large_file: Path) -> None:
    report = Report(browser, large_file)
    report.head("structures", "energy, Eh").click()
    energies = [float(text) for text in report.column("structures", 7)]
    assert energies == sorted(energies) and energies[0] == min(-(i * 7919 % 100003) - 0.5 for i in _good())
    report.search("structures", "failed")
    report.until_count("structures", "10,000 of 100,000 rows")
    assert report.column("structures", 0)[:3] == ["0", "10", "20"]
    report.search("structures", "node7 scf>90")
    expected = sum(1 for i in _good() if (i + 1) % 40 == 7 and 5 + i % 90 > 90)
    report.until_count("structures", f"{expected:,} of 100,000 rows")


def _good() -> list[int]:
    return [index for index in range(MANY) if index % 10]


@pytest.mark.parametrize("width", [1600, 420, 320])
def test_the_page_fits_into_a_window_however_narrow(report: Report, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    report.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert report.js("innerWidth") == width
        assert report.js("document.documentElement.scrollWidth") <= width
    finally:
        report.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_on_paper_are_the_first_rows_and_it_says_so(browser: Any, large_file: Path) -> None:
    report = Report(browser, large_file)
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert len(report.column("structures", 0)) == 60
    assert report.count("structures") == "100,000 rows, the first 60 of them on paper"
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert report.count("structures") == "100,000 rows"


def test_a_browser_that_cannot_unpack_says_what_to_use(
    browser: Any, small_file: Path, tmp_path: Path
) -> None:
    taken = browser.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": "delete globalThis.DecompressionStream"}
    )
    try:
        browser.get(small_file.as_uri())
        text = "return document.querySelector('[data-table=structures]').innerText"
        until(lambda: "DecompressionStream" in browser.execute_script(text), "the message")
        assert "Firefox 113" in browser.execute_script(text)
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", taken)
