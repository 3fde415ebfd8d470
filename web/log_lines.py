"""A line of an agent's log as the log panel shows it: JSON lines in columns, everything else as it is."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class LogLine:
    """`at` and `level` are empty, and `fields` too, for a line that is not a JSON object with an `event`."""

    at: str
    level: str
    message: str
    fields: str


def log_line(raw: str) -> LogLine:
    """The columns of one line; a structlog JSON line has `timestamp`, `level`, `event` and its own fields."""
    record = _record(raw)
    if record is None:
        return LogLine("", "", raw, "")
    at = str(record.pop("timestamp", ""))
    level = str(record.pop("level", "")).lower()
    message = str(record.pop("event"))
    return LogLine(at, level, message, " ".join(f"{key}={_value(value)}" for key, value in record.items()))


def _record(raw: str) -> dict[str, object] | None:
    if not raw.startswith("{"):
        return None
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) and "event" in parsed else None


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
