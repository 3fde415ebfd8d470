from __future__ import annotations

from datetime import UTC, datetime

import pytest

from manager.telemetry.series import Series
from web.charts import Figure, chart

ENDED = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
LOAD = Figure("load", "Load", (("load", "load"),), lambda value: f"{value:g} L", 1)
MEMORY = Figure("memory", "Memory", (("load", "load"),), lambda value: f"{value:g} B", 64, binary=True)


def of(*points: float | None, figure: Figure = LOAD) -> object:
    return chart(figure, Series(10.0, ENDED, {"load": list(points)}))


def test_the_newest_point_is_at_the_right_edge_and_the_axis_ends_at_a_round_number() -> None:
    drawn = of(0, 1.5, 3)
    assert drawn.lines[0].path == "M27 100.0L28 62.5L29 25.0"
    assert drawn.width == 29
    assert [(mark.y, mark.text) for mark in drawn.marks] == [(100, "0"), (50, "2 L"), (0, "4 L")]


def test_what_is_not_known_is_a_gap_and_a_lonely_point_is_a_dot() -> None:
    line = of(1, None, 1, 1).lines[0]
    assert (line.path, line.dots) == ("M28 0.0L29 0.0", "M26 0.0h0")
    assert line.area == "M28 100L28 0.0L29 0.0L29 100Z"


def test_a_chart_of_a_single_point_is_not_empty() -> None:
    assert not of(1).is_empty and of(1).lines[0].dots == "M29 0.0h0"


def test_the_area_under_a_line_ends_on_the_axis() -> None:
    assert of(1, 1).lines[0].area == "M28 100L28 0.0L29 0.0L29 100Z"


@pytest.mark.parametrize(
    ("points", "width", "span"), [(1, 29, "5 min"), (31, 89, "15 min"), (91, 179, "30 min"), (360, 359, "1 h")]
)
def test_a_young_manager_fills_its_chart_and_an_old_one_shows_an_hour(points: int, width: int, span: str) -> None:
    drawn = of(*[1.0] * points)
    assert (drawn.width, drawn.span) == (width, span)


@pytest.mark.parametrize(
    ("highest", "figure", "top"),
    [
        (0, LOAD, "1 L"),
        (1.01, LOAD, "2 L"),
        (4.1, LOAD, "6 L"),
        (99, LOAD, "100 L"),
        (0.3, Figure("r", "R", (("load", "r"),), lambda value: f"{value:g}", 0.1), "0.4"),
        (65, MEMORY, "96 B"),
        (100, MEMORY, "128 B"),
        (128, MEMORY, "128 B"),
    ],
)
def test_the_axis_holds_the_highest_point(highest: float, figure: Figure, top: str) -> None:
    assert of(highest, figure=figure).marks[-1].text == top


def test_the_table_has_one_mean_for_each_minute_the_newest_first() -> None:
    rows = of(*[1.0] * 2, *[4.0] * 5, None).rows
    assert [(row.at, row.cells) for row in rows] == [
        ("2026-03-04T12:00:00.000Z", ("4 L",)),
        ("2026-03-04T11:59:00.000Z", ("1 L",)),
    ]


def test_a_minute_of_which_nothing_is_known_is_empty_in_the_table() -> None:
    assert of(1.0, *[None] * 6).rows[0].cells == ("",)


def test_a_chart_without_points_says_so() -> None:
    drawn = chart(LOAD, Series(10.0, None, {}))
    assert drawn.is_empty and drawn.rows == () and drawn.ended_at is None
    assert of(None, None).is_empty


def test_in_a_sentence_it_tells_the_newest_that_is_known() -> None:
    assert of(1, 2, None).summary == "load now 2 L"
    assert of(None).summary == "load now unknown"


def test_the_pointer_is_told_every_point_in_words() -> None:
    assert of(1, None).points == (("1 L", None),)
