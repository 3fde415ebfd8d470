from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from starlette.datastructures import QueryParams

from manager.api.event_query import read_filter
from manager.errors import BadRequest
from manager.event_filter import EVERYTHING, EventFilter

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def asked(query: str) -> EventFilter:
    return read_filter(QueryParams(query), NOW)


@pytest.mark.parametrize("query", ["", "agent=&kind=&actor=&text=&since=&until="])
def test_nothing_asked_for_is_everything(query: str) -> None:
    assert asked(query) == EVERYTHING


def test_each_parameter_is_a_condition() -> None:
    expected = EventFilter("echo", frozenset({"failed"}), "ada", "disk full", NOW - timedelta(hours=1), NOW)
    assert asked("agent=echo&kind=failed&actor=ada&text=disk+full&since=1h&until=2026-01-02T12:00:00Z") == expected


def test_kinds_are_repeated_or_separated_by_commas() -> None:
    kinds = {"failed", "lost", "start_failed"}
    assert asked("kind=failed&kind=lost,%20start_failed,").kinds == kinds


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("10m", NOW - timedelta(minutes=10)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-01-02T03:04:05.678Z", datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
    ],
)
def test_a_moment_is_an_age_or_a_time(text: str, moment: datetime) -> None:
    assert asked(f"since={text}").since == moment


@pytest.mark.parametrize("text", ["yesterday", "10", "m", "-5m", "999999999d", "2026-13-01"])
def test_another_moment_is_refused_with_what_is_right(text: str) -> None:
    with pytest.raises(BadRequest, match=r"until is .* an age such as 10m"):
        asked(f"until={text}")


def test_a_wrong_kind_is_told_the_nearest_right_one() -> None:
    with pytest.raises(BadRequest, match="did you mean failed"):
        asked("kind=faild")
    with pytest.raises(BadRequest, match="openapi"):
        asked("kind=xyzzy")
