from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.cli.log_lines import new_lines, rendered


@pytest.mark.parametrize(
    ("before", "now", "news"),
    [
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["a", "b", "c"], ["b", "c", "d"], ["d"]),
        (["a", "b", "c"], ["c", "d", "e"], ["d", "e"]),
        ([], ["a"], ["a"]),
        ([], [], []),
        (["x", "x"], ["x", "x", "x"], ["x"]),
    ],
)
def test_what_follows_the_overlap_is_new(before: list[str], now: list[str], news: list[str]) -> None:
    assert new_lines(before, now) == (news, True)


def test_a_line_that_was_still_being_written_comes_again_whole() -> None:
    assert new_lines(["a", "hal"], ["a", "half", "b"]) == (["half", "b"], True)


@pytest.mark.parametrize("now", [["x", "y"], []])
def test_without_an_overlap_lines_may_be_missing(now: list[str]) -> None:
    assert new_lines(["a", "b"], now) == (now, False)


@given(st.integers(0, 50), st.integers(0, 30), st.integers(1, 20))
def test_a_window_over_distinct_lines_loses_nothing_while_it_overlaps(old: int, added: int, window: int) -> None:
    lines = [f"{number:03}" for number in range(old + added)]
    before, now = lines[:old][-window:], lines[-window:]
    news, is_gapless = new_lines(before, now)
    if is_gapless and before:
        assert news == lines[old:]
    assert is_gapless or added >= window


def test_a_structured_line_is_shown_as_time_level_event_and_fields() -> None:
    stamp = "2026-01-02T12:00:00.000Z"
    local = f"{datetime.fromisoformat(stamp).astimezone():%Y-%m-%d %H:%M:%S}"
    line = json.dumps({"event": "Task done", "level": "info", "timestamp": stamp, "task": "t1", "note": "a b", "n": 2})
    assert rendered(line) == f'{local} INFO    Task done task=t1 note="a b" n=2'


def test_a_traceback_follows_its_line() -> None:
    assert (
        rendered('{"event": "Died", "level": "error", "exception": "Traceback\\nBoom"}')
        == "ERROR   Died\nTraceback\nBoom"
    )


@pytest.mark.parametrize("line", ["plain", "", "{broken", '{"no": "event"}', '["event"]', '{"event": 3}'])
def test_any_other_line_is_shown_as_it_is(line: str) -> None:
    assert rendered(line) == line


@pytest.mark.parametrize("line", ["\x1b[2J", '{"event": "\\u001b[2J"}', '{"event": "x", "exception": "\\u001b[2J"}'])
def test_a_line_cannot_drive_the_terminal(line: str) -> None:
    assert "\x1b" not in rendered(line)


def test_a_time_that_is_none_is_kept_as_text() -> None:
    assert rendered('{"event": "x", "timestamp": "noon"}').split() == ["noon", "x"]
    assert rendered('{"event": "x", "timestamp": 5}').split() == ["5", "x"]
