from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from manager.cli.log_lines import rendered

STAMP = "2026-01-02T12:00:00.000Z"
LOCAL = f"{datetime.fromisoformat(STAMP).astimezone():%Y-%m-%d %H:%M:%S}"


def entry(message: str = "Task done", level: str | None = "info", **changes: Any) -> dict[str, Any]:
    known = {"agent_id": "planner", "at": STAMP, "level": level, "message": message, "fields": {}, "structured": True}
    return known | {"request_id": None, "trace_id": None, "task_id": None, "line": message} | changes


def plain(found: dict[str, Any], *, named: bool = False) -> str:
    return rendered(found, named=named, colored=False)


def test_a_structured_line_is_shown_as_time_level_message_and_fields() -> None:
    found = entry(fields={"note": "a b", "n": 2}, task_id="t1")
    assert plain(found) == f'{LOCAL} INFO    Task done note="a b" n=2 task_id=t1'
    assert plain(found, named=True).startswith(f"planner | {LOCAL}")


def test_a_traceback_follows_its_line() -> None:
    found = entry("Died", "error", at=None, fields={"exception": "Traceback\nBoom"})
    assert plain(found) == "ERROR   Died\nTraceback\nBoom"


def test_a_raw_line_is_shown_as_it_is() -> None:
    assert plain(entry("by hand", None, structured=False)) == "by hand"


@pytest.mark.parametrize("structured", [True, False])
def test_an_agent_cannot_drive_the_terminal(structured: bool) -> None:
    hostile = "\x1b[2J\x07"
    found = entry(hostile, fields={"x": hostile, "exception": hostile}, request_id=hostile, structured=structured)
    assert "\x1b" not in plain(found | {"agent_id": hostile}, named=True)


@pytest.mark.parametrize(("level", "color"), [("warning", "33"), ("error", "31"), ("critical", "1;31"), ("debug", "2")])
def test_a_level_has_its_color_to_the_end_of_the_line(level: str, color: str) -> None:
    text = rendered(entry(level=level), named=False, colored=True)
    assert text.startswith(f"\x1b[{color}m") and text.endswith("\x1b[0m")


def test_an_agent_has_the_same_color_in_every_line() -> None:
    first, second = (rendered(entry(each, level=None), named=True, colored=True) for each in ("a", "b"))
    assert first.partition("planner")[0] == second.partition("planner")[0] != ""
