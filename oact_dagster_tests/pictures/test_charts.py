"""The large charts of a report and a web page."""

import math
import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oact_dagster.pictures.axes import MINUS
from oact_dagster.pictures.bars import MOST_ROWS, bars
from oact_dagster.pictures.frame import BOTTOM, LEFT, RIGHT, TOP
from oact_dagster.pictures.histogram import histogram
from oact_dagster.pictures.lines import lines
from oact_dagster.pictures.palette import SERIES, STATUS
from oact_dagster.pictures.scatter import MOST_DOTS, scatter
from oact_dagster.pictures.status_bar import status_bar
from oact_dagster_tests.pictures.checked import NAMESPACE, parsed, says_nothing, texts, tooltips

HOUR = 3600
NOON = 1_767_268_800
"""2026-01-01 12:00 UTC."""


def rectangles(root):
    return [
        {name: float(node.get(name)) for name in ("x", "y", "width", "height")} | {"fill": node.get("fill")}
        for node in root.iter(f"{NAMESPACE}rect")
        if node.find(f"{NAMESPACE}title") is not None
    ]


def drawn_lines(root):
    """The points of each line, by its colour."""
    found = {}
    for node in root.iter(f"{NAMESPACE}path"):
        if node.get("stroke-width") == "2":
            numbers = [float(text) for text in node.get("d").removeprefix("M").replace("-", " -").split()]
            found[node.get("stroke")] = list(zip(numbers[::2], numbers[1::2], strict=True))
    return found


def counts(root):
    return [int(told.rpartition(": ")[2].replace(",", "")) for told in tooltips(root)]


# Histograms.


def test_a_histogram_counts_every_value():
    source = random.Random(1)
    values = [source.gauss(-25.3, 4) for _ in range(5000)]
    root = parsed(histogram(values, "energy per atom, Eh", title="Energy"))
    assert sum(counts(root)) == 5000
    assert {"energy per atom, Eh", "structures", "Energy", "5,000 values"} <= set(texts(root))
    assert f"{MINUS}25" in texts(root)
    assert 8 <= len(counts(root)) <= 41


def test_the_bins_are_where_the_values_are():
    root = parsed(histogram([0.5, 1.5, 1.6, 3.5], "x"))
    told = dict(told.split(": ") for told in tooltips(root))
    assert told == {"0.5 to 1.0": "1", "1.5 to 2.0": "2", "3.5 to 4.0": "1"}
    heights = [bar["height"] for bar in rectangles(root)]
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.2)
    assert all(bar["y"] + bar["height"] == pytest.approx(BOTTOM, abs=0.1) for bar in rectangles(root))


def test_whole_numbers_have_bins_of_their_own():
    root = parsed(histogram([12, 12, 13, 15, 15, 15], "SCF cycles", counted="calculations"))
    assert tooltips(root) == ["12: 2", "13: 1", "15: 3"]
    assert "calculations" in texts(root)
    # A bin of several tells the first and the last.
    first = tooltips(parsed(histogram(range(1000), "n")))[0]
    low, high, count = map(int, re.fullmatch(r"(\d+) to (\d+): (\d+)", first).groups())
    assert high - low + 1 == count


@pytest.mark.parametrize("values", [500, 12])
def test_few_values_far_out_are_told_not_drawn(values):
    root = parsed(histogram([*np.linspace(0.001, 0.02, values), 7.0], "forces"))
    assert f"{values + 1} values from 0.001 to 7, 1 of them outside" in texts(root)
    assert sum(counts(root)) == values
    assert len(rectangles(root)) >= 4, "the others do not stand in one bin"


def test_many_values_far_out_are_drawn():
    root = parsed(histogram([*np.linspace(0.001, 0.02, 50), *np.linspace(7, 8, 10)], "forces"))
    assert sum(counts(root)) == 60
    assert sum(counts(parsed(histogram([0.1, 0.2, 7.0], "forces")))) == 3
    assert sum(counts(parsed(histogram([0.01] * 300 + [7.0] * 100, "forces")))) == 400


def test_no_values():
    assert says_nothing(histogram([], "x"))
    assert says_nothing(histogram([None, math.nan, math.inf], "x", title="Forces"))


@given(st.lists(st.one_of(st.none(), st.floats(), st.integers()), max_size=40))
def test_any_values_give_a_histogram(values):
    parsed(histogram(values, "x"))


# Lines.


def test_progress_over_time():
    hours = [(NOON + HOUR * place, 10 * place) for place in range(8)]
    root = parsed(
        lines(
            {"completed": hours, "failed": [(time, 2) for time, _ in hours]},
            "time (UTC)",
            "structures",
            title="Progress",
            times=True,
            integer_y=True,
        )
    )
    shown = texts(root)
    assert {"completed", "failed", "01-01 12:00", "14:00", "18:00", "time (UTC)", "0", "20", "60"} <= set(
        shown
    )
    found = drawn_lines(root)
    assert set(found) == {STATUS["completed"], STATUS["failed"]}
    completed, failed = found[STATUS["completed"]], found[STATUS["failed"]]
    assert len(completed) == len(failed) == 8
    assert (completed[0][0], completed[-1][0]) == (LEFT, RIGHT)
    assert completed[0][1] == BOTTOM
    assert len({y for _, y in failed}) == 1


def test_one_line_has_no_legend_and_starts_where_its_values_do():
    root = parsed(lines({"energy": [(0, -1.5), (1, -1.6), (2, math.nan), (4, -1.61)]}, "cycle", "E, Eh"))
    assert "energy" not in texts(root)
    (points,) = drawn_lines(root).values()
    assert len(points) == 3
    assert TOP <= points[0][1] < points[1][1] < points[2][1] <= BOTTOM


def test_a_long_series_is_thinned_out():
    points = [(place, math.sin(place)) for place in range(100_000)]
    svg = lines({f"series {name}": points for name in range(8)}, "x", "y")
    root = parsed(svg)
    assert all(len(line) == 500 for line in drawn_lines(root).values())


def test_no_more_series_than_colours():
    root = parsed(lines({f"s{name}": [(0, name), (1, name)] for name in range(12)}, "x", "y", title="T"))
    assert "8 of 12 series" in texts(root)
    assert list(drawn_lines(root)) == list(SERIES)
    assert "s7" in texts(root)
    assert "s8" not in texts(root)


def test_single_points_and_none():
    root = parsed(lines({"a": [(NOON, 5)]}, "time (UTC)", "n", times=True, integer_y=True))
    assert any(node.get("stroke-linecap") == "round" for node in root.iter(f"{NAMESPACE}path"))
    assert says_nothing(lines({}, "x", "y"))
    assert says_nothing(lines({"a": [], "b": [(math.nan, 1.0)]}, "x", "y"))


@given(
    st.dictionaries(
        st.text(max_size=60), st.lists(st.tuples(st.floats(), st.floats()), max_size=20), max_size=10
    ),
    st.booleans(),
    st.booleans(),
)
def test_any_series_give_a_picture(series, times, integer_y):
    parsed(lines(series, "x", "y", times=times, integer_y=integer_y))


# Bars.


def test_bars_are_sorted_and_as_long_as_their_amounts():
    root = parsed(
        bars([("oom", 5), ("scf_not_converged", 20), ("walltime", 0)], "attempts", title="Failures")
    )
    assert tooltips(root) == ["scf_not_converged: 20", "oom: 5", "walltime: 0"]
    long, short, none = (bar["width"] for bar in rectangles(root))
    assert long == pytest.approx(4 * short, abs=0.2)
    assert none == 0
    assert {"attempts", "Failures", "scf_not_converged", "20", "0"} <= set(texts(root))


def test_what_is_beyond_15_is_added_up():
    root = parsed(bars([(f"node{place}", 100.5 - place) for place in range(40)], "core-hours"))
    assert len(rectangles(root)) == MOST_ROWS
    assert "others (25)" in texts(root)
    rest = sum(100.5 - place for place in range(15, 40))
    assert f"{rest:,.4g}" in texts(root)
    assert "others" not in " ".join(texts(parsed(bars([(str(place), 1.0) for place in range(15)], "x"))))


def test_long_names_are_cut_but_told():
    name = "a name <with> & far too many letters for its place"
    root = parsed(bars([(name, 0.25)], "x"))
    assert tooltips(root) == [f"{name}: 0.25"]
    assert any(text.endswith("…") and len(text) <= 28 for text in texts(root))


def test_no_bars():
    assert says_nothing(bars([], "x"))
    assert says_nothing(bars([("a", math.nan), ("b", -1.0)], "x"))


@given(st.lists(st.tuples(st.text(), st.floats()), max_size=30))
def test_any_amounts_give_bars(items):
    parsed(bars(items, "x"))


# Points.


def dots_of(root):
    (path,) = (node for node in root.iter(f"{NAMESPACE}path") if node.get("stroke-linecap") == "round")
    return [tuple(map(float, place)) for place in re.findall(r"M(\S+) (\S+?)h0", path.get("d"))]


def test_a_power_law_is_a_line_on_logarithmic_axes():
    x = [10.0 * 1.2**place for place in range(30)]
    root = parsed(
        scatter(
            x, [value**3 for value in x], "basis functions", "wall time, s", log_x=True, log_y=True, title="T"
        )
    )
    places = dots_of(root)
    assert len(places) == 30
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(places, places[5:], strict=False)]
    assert max(slopes) - min(slopes) < 0.1
    assert {"10", "100", "1,000", "30 points"} <= set(texts(root))


def test_many_points_are_thinned_out_and_it_says_so():
    random_numbers = np.random.default_rng(1)
    svg = scatter(random_numbers.random(50_000), random_numbers.random(50_000), "x", "y")
    root = parsed(svg)
    assert len(dots_of(root)) == MOST_DOTS
    assert "50,000 points, 2,000 drawn" in texts(root)
    # Points on one spot are one.
    root = parsed(scatter([1, 2] * 5000, [1, 2] * 5000, "x", "y"))
    assert len(dots_of(root)) == 2
    assert "10,000 points" in texts(root)


def test_what_has_no_logarithm_is_told():
    root = parsed(scatter([1, 2, 3], [0, 10, 100], "x", "y", log_y=True))
    assert len(dots_of(root)) == 2
    assert "2 points, 1 without a logarithm" in texts(root)


def test_no_points():
    assert says_nothing(scatter([], [], "x", "y"))
    assert says_nothing(scatter([1, None], [math.nan, 2], "x", "y"))
    assert says_nothing(scatter([1.0], [-1.0], "x", "y", log_y=True))
    with pytest.raises(ValueError, match="shorter"):
        scatter([1, 2], [1], "x", "y")


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=40), st.booleans(), st.booleans())
def test_any_points_give_a_picture(points, log_x, log_y):
    parsed(scatter([x for x, _ in points], [y for _, y in points], "x", "y", log_x=log_x, log_y=log_y))


# Statuses.


def test_a_bar_of_statuses():
    root = parsed(
        status_bar({"failed": 10, "completed": 70, "to_run": 15, "ready": 5, "timeout": 0}, title="All")
    )
    assert tooltips(root) == ["completed: 70 (70 %)", "to run: 20 (20 %)", "failed: 10 (10 %)"]
    parts = rectangles(root)
    assert [part["fill"] for part in parts] == [STATUS["completed"], STATUS["to_run"], STATUS["failed"]]
    assert parts[0]["width"] + 1 == pytest.approx(7 * (parts[2]["width"] + 1), rel=0.01)
    assert {"completed 70 (70 %)", "to run 20 (20 %)", "failed 10 (10 %)", "All"} <= set(texts(root))


def test_few_of_many_are_seen():
    root = parsed(status_bar({"completed": 99_999, "failed": 1}))
    assert tooltips(root) == ["completed: 99,999 (> 99.9 %)", "failed: 1 (< 0.1 %)"]
    assert rectangles(root)[1]["width"] >= 1


def test_other_names_have_colours():
    root = parsed(status_bar(dict.fromkeys("abcdefghij", 1)))
    assert len({part["fill"] for part in rectangles(root)}) >= 4
    assert len(rectangles(root)) == 10


def test_no_statuses():
    assert says_nothing(status_bar({}))
    assert says_nothing(status_bar({"completed": 0}, title="All"))


@given(st.dictionaries(st.text(max_size=40), st.integers(-5, 10**9), max_size=12))
def test_any_counts_give_a_bar(counts):
    parsed(status_bar(counts))
