"""The order of structures, and how long they may take."""

import pytest

from oact_dagster.launchers.packing import ENOUGH, REMEMBERED, RunTimes, expected_cost


def test_larger_and_open_and_optimised_is_dearer() -> None:
    plain = expected_cost(200, 1, opt=False)
    assert expected_cost(201, 1, opt=False) > plain
    assert expected_cost(200, 2, opt=False) == 2 * plain
    assert expected_cost(200, 1, opt=True) > expected_cost(600, 1, opt=False)


def test_nothing_is_concluded_from_few() -> None:
    times = RunTimes()
    for _ in range(ENOUGH - 1):
        times.add(10.0, 100.0)
    assert times.expected_s(100.0) is None
    assert times.needed_s(100.0, 7200.0) == 7200.0


def test_the_estimate_is_what_nine_in_ten_stay_below_scaled_by_cost() -> None:
    times = RunTimes()
    for number in range(1, 101):
        times.add(float(number), 100.0)
    assert times.expected_s(100.0) == pytest.approx(90.0)
    assert times.expected_s(200.0) == pytest.approx(180.0)
    assert times.needed_s(200.0, 7200.0) == pytest.approx(180.0)
    assert times.needed_s(200.0, 100.0) == 100.0, "its own limit ends it before that"


def test_without_costs_all_are_alike() -> None:
    times = RunTimes()
    for _ in range(ENOUGH):
        times.add(30.0, 0.0)
    assert times.expected_s(0.0) == 30.0


def test_old_run_times_are_forgotten() -> None:
    times = RunTimes()
    for _ in range(REMEMBERED):
        times.add(1.0, 1.0)
    for _ in range(REMEMBERED):
        times.add(5.0, 1.0)
    assert times.expected_s(1.0) == 5.0
