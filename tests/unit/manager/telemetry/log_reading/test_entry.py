from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from manager.telemetry.log_reading.entry import Context, LogEntry
from tests.unit.manager.telemetry.log_reading.logbook import START, line


def entries(*lines: str) -> list[LogEntry]:
    context = Context("planner")
    return [context.entry(each.encode()) for each in lines]


def test_a_structured_line_says_who_when_and_what() -> None:
    (entry,) = entries(line(1.5, "Task done", request_id="r", trace_id="t", task_id="k", number=7, agent_id="liar"))
    assert (entry.agent_id, entry.instance_id, entry.level, entry.message) == ("planner", "i-1", "info", "Task done")
    assert entry.at is not None and (entry.at - START).total_seconds() == 1.5
    assert (entry.request_id, entry.trace_id, entry.task_id) == ("r", "t", "k")
    assert entry.fields == {"number": 7} and entry.structured


@pytest.mark.parametrize(
    ("given", "level", "message", "second"),
    [
        ({"time": "2026-01-02T12:00:01Z", "severity": "WARN", "msg": "m"}, "warning", "m", 1),
        ({"ts": 1767355202.0, "level": "FATAL", "message": "m"}, "critical", "m", 2),
        ({"@timestamp": "2026-01-02T13:00:03+01:00", "levelname": "Err", "event": "m"}, "error", "m", 3),
        ({"timestamp": 1767355204000, "level": "notice", "msg": "m"}, "info", "m", 4),
        ({"timestamp": "yesterday", "level": 30, "msg": 5}, None, None, None),
    ],
)
def test_other_loggers_of_json_lines_are_understood(
    given: dict[str, object], level: str | None, message: str | None, second: int | None
) -> None:
    text = json.dumps(given)
    (entry,) = entries(text)
    assert (entry.level, entry.message) == (level, message or text)
    assert (None if entry.at is None else (entry.at - START).total_seconds()) == second


def test_a_raw_line_is_of_the_time_and_the_instance_before_it() -> None:
    first, raw = entries(line(3, "Task begun"), "printed by hand")
    assert (raw.at, raw.instance_id, raw.structured) == (first.at, "i-1", False)
    assert (raw.level, raw.message, raw.line) == (None, "printed by hand", "printed by hand")


def test_a_raw_line_that_tells_its_own_time_and_level_is_believed() -> None:
    (entry,) = entries("2026-01-02 12:00:01,250Z WARNING root: careful")
    assert (entry.at, entry.level) == (datetime(2026, 1, 2, 12, 0, 1, 250_000, tzinfo=UTC), "warning")


def test_a_raw_traceback_is_an_error_to_its_last_line() -> None:
    found = entries(
        "Traceback (most recent call last):", '  File "x.py", line 1, in <module>', "ValueError: no", "and on it goes"
    )
    assert [each.level for each in found] == ["error", "error", "error", None]


@pytest.mark.parametrize("text", ["{", "{not json}", "[1, 2]", '"text"', "\ufffd"])
def test_what_is_no_json_object_is_raw(text: str) -> None:
    (entry,) = entries(text)
    assert (entry.structured, entry.line) == (False, text)


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert Context("a").entry(b"\xff\xfe!").line == "\ufffd\ufffd!"
