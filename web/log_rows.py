"""Log entries as the log view shows them: a line to read, and everything else behind a click. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agent_service.contract import rfc3339
from manager.telemetry.log_reading.entry import LogEntry

LONGEST_MESSAGE = 4_000
LONGEST_FIELDS = 400
# Which module wrote it, and its traceback, are of interest to who opens the line.
_NOISE = frozenset({"logger", "pid", "process", "thread", "exception", "stack"})


@dataclass(frozen=True)
class LogRow:
    """One line. `at` is RFC 3339, `clock` its time of day in UTC; both are empty where nobody knows it.

    `fields` is what else the line holds in a few words; `all` is everything, one to a line.
    """

    agent_id: str
    at: str
    clock: str
    level: str
    message: str
    fields: str
    all: str
    request_id: str | None
    structured: bool


def log_rows(entries: Iterable[LogEntry]) -> list[LogRow]:
    """The rows, in the order of the entries."""
    return [_row(entry) for entry in entries]


def _row(entry: LogEntry) -> LogRow:
    at = "" if entry.at is None else rfc3339(entry.at)
    return LogRow(
        agent_id=entry.agent_id,
        at=at,
        clock=at[11:23],
        level=entry.level or "",
        message=_shortened(entry.message, LONGEST_MESSAGE),
        fields=_shortened(_in_short(entry.fields), LONGEST_FIELDS),
        all=_everything(entry) if entry.structured else "",
        request_id=entry.request_id,
        structured=entry.structured,
    )


def _in_short(fields: dict[str, Any]) -> str:
    told = " ".join(f"{key}={_text(value)}" for key, value in fields.items() if key not in _NOISE)
    return " ".join(told.split())


def _everything(entry: LogEntry) -> str:
    ids = {
        "instance_id": entry.instance_id,
        "request_id": entry.request_id,
        "trace_id": entry.trace_id,
        "task_id": entry.task_id,
    }
    told = {**{key: value for key, value in ids.items() if value}, **entry.fields}
    width = max((len(key) for key in told), default=0)
    return "\n".join(f"{key:<{width}}  {_text(value)}" for key, value in told.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
