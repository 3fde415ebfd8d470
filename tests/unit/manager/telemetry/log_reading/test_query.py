from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from manager.errors import BadRequest
from manager.telemetry.log_reading.query import LogQuery, read_query

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def query(**parameters: str) -> LogQuery:
    return read_query(parameters, agents=("a", "b", "a"), now=NOW)


def test_nothing_asked_for_is_the_newest_200() -> None:
    assert query() == LogQuery(agents=("a", "b"), lines=200, order="newest")
    assert query(level="", since="", order="", text="", cursor="") == query()


def test_everything_can_be_asked_for_at_once() -> None:
    asked = query(
        lines="7", since="10m", until="2026-01-02T11:59:00+00:00", level="error", request="r", order="oldest", text="x"
    )
    assert (asked.lines, asked.level, asked.request, asked.order, asked.text) == (7, "error", "r", "oldest", "x")
    assert asked.since == NOW - timedelta(minutes=10) and asked.until == NOW - timedelta(minutes=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lines", "0"),
        ("lines", "10001"),
        ("lines", "many"),
        ("since", "yesterday"),
        ("until", "10 minutes"),
        ("since", "999999999d"),
        ("level", "loud"),
        ("order", "random"),
        ("text", "x" * 1001),
        ("regex", "x" * 1001),
    ],
)
def test_a_wrong_parameter_is_named(name: str, value: str) -> None:
    with pytest.raises(BadRequest, match=f"^{name} (is|has) "):
        query(**{name: value})
