"""Scales and their ticks."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oact_dagster.pictures.axes import (
    MINUS,
    Scale,
    linear_ticks,
    log_ticks,
    nice_step,
    time_ticks,
    widened,
)


def texts(ticks):
    return [tick.text for tick in ticks]


@pytest.mark.parametrize(
    ("span", "most", "step"),
    [
        (10, 5, 2),
        (10, 10, 1),
        (9.9, 3, 5),
        (1, 3, 0.5),
        (0.0007, 4, 0.0002),
        (3e9, 2, 2e9),
        (0.3, 3, 0.1),
        (5, 1, 5),
    ],
)
def test_steps_are_round(span, most, step):
    assert nice_step(span, most) == pytest.approx(step)


@pytest.mark.parametrize(("span", "most", "step"), [(2, 10, 1), (11, 10, 2), (0.1, 3, 1), (45, 10, 5)])
def test_steps_of_counts_are_whole(span, most, step):
    assert nice_step(span, most, integer=True) == step


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, ["0", "2", "4", "6", "8", "10"]),
        (-0.3, 0.3, [f"{MINUS}0.3", f"{MINUS}0.2", f"{MINUS}0.1", "0", "0.1", "0.2", "0.3"]),
        (0.1, 0.30000000001, ["0.10", "0.15", "0.20", "0.25", "0.30"]),
        (1200, 5000, ["2,000", "3,000", "4,000", "5,000"]),
        (0, 3e-9, ["0", "5e-10", "1.0e-9", "1.5e-9", "2.0e-9", "2.5e-9", "3.0e-9"]),
        (5, 5, []),
        (float("nan"), 1, []),
    ],
)
def test_linear_ticks(low, high, expected):
    assert texts(linear_ticks(low, high)) == expected


def test_counts_have_whole_ticks():
    assert texts(linear_ticks(0, 2.1, 5, integer=True)) == ["0", "1", "2"]
    assert texts(linear_ticks(0, 1, 5, integer=True)) == ["0", "1"]


@given(st.floats(-1e90, 1e90), st.floats(-1e90, 1e90), st.integers(1, 12), st.booleans())
def test_any_axis_has_few_ticks_inside(one, other, most, integer):
    low, high = widened(min(one, other), max(one, other), integer=integer)
    assert low < high
    ticks = linear_ticks(low, high, most, integer=integer)
    assert len(ticks) <= most + 2
    room = (high - low) * 1e-6
    assert all(low - room <= tick.value <= high + room for tick in ticks)
    assert len(set(texts(ticks))) == len(ticks)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1e-9, 1, ["1e-8", "1e-6", "1e-4", "0.01", "1"]),
        (0.5, 200_000, ["1", "10", "100", "1,000", "10,000", "100,000"]),
        (150, 3000, ["200", "500", "1,000", "2,000"]),
        (1e3, 1e6, ["1,000", "10,000", "100,000", "1e6"]),
        (0, 1, []),
        (-1, 1, []),
    ],
)
def test_log_ticks(low, high, expected):
    assert texts(log_ticks(low, high)) == expected


@given(st.floats(1e-90, 1e90), st.floats(1.3, 1e40))
def test_any_logarithmic_axis_has_ticks(low, factor):
    ticks = log_ticks(low, low * factor)
    assert 1 <= len(ticks) <= 8
    assert all(low * (1 - 1e-6) <= tick.value <= low * factor * (1 + 1e-6) for tick in ticks)


def time(*parts):
    return datetime(*parts, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (
            time(2025, 3, 1, 9, 55),
            time(2025, 3, 1, 11, 5),
            ["03-01 10:00", "10:15", "10:30", "10:45", "11:00"],
        ),
        (
            time(2025, 3, 1, 20),
            time(2025, 3, 2, 4),
            ["03-01 20:00", "22:00", "03-02 00:00", "02:00", "04:00"],
        ),
        (time(2025, 3, 1), time(2025, 3, 5), ["2025-03-01", "03-02", "03-03", "03-04", "03-05"]),
        (
            time(2025, 12, 30),
            time(2026, 1, 2),
            ["12-30 00:00", "12:00", "12-31 00:00", "12:00", "01-01 00:00", "12:00", "01-02 00:00"],
        ),
        (time(2025, 1, 10), time(2025, 6, 20), ["2025-02", "2025-03", "2025-04", "2025-05", "2025-06"]),
        (time(2019, 6, 1), time(2025, 6, 1), ["2020", "2021", "2022", "2023", "2024", "2025"]),
        (
            time(2025, 3, 1, 9, 0, 1),
            time(2025, 3, 1, 9, 0, 9),
            ["03-01 09:00:02", "09:00:04", "09:00:06", "09:00:08"],
        ),
        (-5, 100, []),
        (0, 1e12, []),
        (float("nan"), 1, []),
    ],
)
def test_time_ticks(low, high, expected):
    assert texts(time_ticks(low, high)) == expected


def test_weeks_begin_on_mondays():
    ticks = time_ticks(time(2025, 3, 1), time(2025, 4, 10))
    assert len(ticks) >= 3
    assert all(datetime.fromtimestamp(tick.value, UTC).weekday() == 0 for tick in ticks)


@given(st.floats(0, 2e11), st.floats(0.001, 5e10), st.integers(2, 8))
def test_any_time_axis_has_few_ticks_inside(low, span, most):
    ticks = time_ticks(low, low + span, most)
    assert len(ticks) <= most + 1
    assert all(low <= tick.value <= low + span for tick in ticks)


def test_scales():
    up = Scale(0, 10, 100, 0)
    assert [up(0), up(5), up(10)] == [100, 50, 0]
    log = Scale(1, 100, 0, 200, log=True)
    assert [log(1), log(10), log(100)] == pytest.approx([0, 100, 200])
