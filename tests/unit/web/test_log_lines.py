from __future__ import annotations

import pytest

from web.log_lines import LogLine, log_line


def test_a_json_line_is_told_in_columns() -> None:
    raw = '{"timestamp": "2026-03-04T12:00:00.000Z", "level": "INFO", "event": "Task finished", "ms": 12, "by": "né"}'
    assert log_line(raw) == LogLine("2026-03-04T12:00:00.000Z", "info", "Task finished", "ms=12 by=né")


@pytest.mark.parametrize("raw", ["Traceback:", "", "{not json", '{"no": "event"}', '["event"]', '{"a":' * 5000])
def test_any_other_line_stays_as_it_is(raw: str) -> None:
    assert log_line(raw) == LogLine("", "", raw, "")
