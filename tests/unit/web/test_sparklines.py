from __future__ import annotations

import pytest

from web.sparklines import HEIGHT, POINTS, sparkline


@pytest.mark.parametrize("values", [[], [3.0], [None, None], [None, 2.0, None]])
def test_less_than_two_points_are_no_chart(values: list[float | None]) -> None:
    assert sparkline(values, least_top=1) is None


def test_the_newest_point_is_at_the_right_edge_and_the_highest_just_below_the_top() -> None:
    chart = sparkline([0.0, 10.0, 5.0], least_top=1)
    assert chart is not None and chart.width == POINTS - 1
    assert chart.line == "M27 16.0L28 1.6L29 8.8"


def test_no_more_than_the_newest_points_are_drawn() -> None:
    chart = sparkline([*range(100)], least_top=1)
    assert chart is not None
    assert chart.line.startswith("M0 ") and chart.line.count("L") == POINTS - 1


def test_noise_around_zero_stays_flat() -> None:
    chart = sparkline([0.0, 0.1], least_top=10)
    assert chart is not None and chart.line == "M28 16.0L29 15.9"


def test_a_gap_is_not_bridged_and_a_lonely_point_is_seen() -> None:
    chart = sparkline([1.0, 1.0, None, 1.0], least_top=1)
    assert chart is not None and chart.line == "M26 1.6L27 1.6M29 1.6L29 1.6"


def test_what_failed_is_marked_where_it_did_and_a_little_of_it_is_seen_too() -> None:
    chart = sparkline([1.0, 1.0, 1.0], least_top=1, marks=[0.001, None, 1.0])
    assert chart is not None and chart.marks == f"M27 {HEIGHT}V13.0M29 {HEIGHT}V0.0"
    clean = sparkline([1.0, 1.0], least_top=1, marks=[0.0, None])
    assert clean is not None and clean.marks == ""
