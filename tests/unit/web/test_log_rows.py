from __future__ import annotations

import json
from typing import Any

from manager.telemetry.log_reading.entry import Context
from web.log_rows import LONGEST_FIELDS, LONGEST_MESSAGE, LogRow, log_rows


def row(line: str | dict[str, Any]) -> LogRow:
    text = line if isinstance(line, str) else json.dumps(line)
    return log_rows([Context("planner").entry(text.encode())])[0]


def test_a_structured_line_has_its_columns_and_its_fields_in_short() -> None:
    told = row(
        {"timestamp": "2026-03-04T12:00:00.123Z", "level": "warning", "event": "Slow", "logger": "x.y", "took_ms": 5}
    )
    assert (told.at, told.clock, told.level) == ("2026-03-04T12:00:00.123Z", "12:00:00.123", "warning")
    assert (told.message, told.fields) == ("Slow", "took_ms=5")


def test_everything_a_line_holds_is_behind_the_click() -> None:
    told = row({"timestamp": "2026-03-04T12:00:00Z", "event": "Slow", "logger": "x.y", "request_id": "r-1", "n": [1]})
    assert told.request_id == "r-1"
    assert told.all.splitlines() == ["request_id  r-1", "logger      x.y", "n           [1]"]


def test_a_traceback_is_shown_whole_where_it_was_opened_and_not_in_the_line() -> None:
    told = row({"event": "It fell", "error": "no\nluck", "exception": "Traceback…\n  File x"})
    assert told.fields == "error=no luck" and "Traceback…\n  File x" in told.all


def test_a_raw_line_is_itself() -> None:
    told = row("just a print")
    assert (told.message, told.structured, told.all, told.clock) == ("just a print", False, "", "")


def test_what_is_too_long_to_read_is_cut_and_says_so() -> None:
    told = row({"event": "m" * 10_000, "payload": "p" * 10_000})
    assert len(told.message) == LONGEST_MESSAGE and told.message.endswith("…")
    assert len(told.fields) == LONGEST_FIELDS
