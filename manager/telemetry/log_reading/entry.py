"""One line of a log as an entry: whose it is, when it was written, how grave it is, and what it says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json

from agent_service.contract import Timestamp

LEVELS = ("debug", "info", "warning", "error", "critical")

_LEVEL_NAMES = {level: level for level in LEVELS} | {
    "trace": "debug",
    "notice": "info",
    "warn": "warning",
    "err": "error",
    "fatal": "critical",
}
# How structlog and other loggers of JSON lines call them.
_TIME_KEYS = ("timestamp", "time", "ts", "@timestamp")
_LEVEL_KEYS = ("level", "severity", "levelname")
_MESSAGE_KEYS = ("event", "message", "msg")

_STAMP = re.compile(r"\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?(?:Z|[+-]\d\d:?\d\d)?)")
_LEVEL_WORD = re.compile(r"\b(DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b")
# How far into a raw line its level is looked for.
_HEAD_CHARACTERS = 100
_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION_GROUP = re.compile(r"^ *[|+]")


# Frozen, each would take several times as long to make.
@dataclass(slots=True)
class LogEntry:
    """`fields`: what else a structured line holds. `line`: the whole text.

    A raw line (`structured` false: a print, a traceback, what C code wrote) is of the time and the instance of the
    structured line before it, unless it begins with a time of its own.
    """

    agent_id: str
    instance_id: str | None
    at: Timestamp | None
    level: str | None
    message: str
    request_id: str | None
    trace_id: str | None
    task_id: str | None
    fields: dict[str, Any]
    line: str
    structured: bool


class LogPage(BaseModel):
    """Entries, oldest first. `older`: the cursor of the page before, null where there is none; `newer`: of the next.

    `complete`: false where time was up before the page was full. `note`: a sentence on what is not here.
    """

    entries: list[LogEntry]
    older: str | None = None
    newer: str
    complete: bool = True
    note: str | None = None


@dataclass
class Context:
    """What the lines so far tell of a raw line that comes next."""

    agent_id: str
    at: datetime | None = None
    instance_id: str | None = None
    in_traceback: bool = field(default=False)

    def entry(self, line: bytes) -> LogEntry:
        """The next line, without its end."""
        members = _members(line)
        if members is None:
            return self._raw(line.decode("utf-8", "replace"))
        self.in_traceback = False
        self.at = _first(members, _TIME_KEYS, _moment) or self.at
        self.instance_id = _text(members.pop("instance_id", None)) or self.instance_id
        # The file tells whose it is; a line that says otherwise is not believed.
        members.pop("agent_id", None)
        level = _first(members, _LEVEL_KEYS, _level)
        message = _first(members, _MESSAGE_KEYS, _text)
        text = line.decode("utf-8", "replace")
        return LogEntry(
            self.agent_id,
            self.instance_id,
            self.at,
            level,
            text if message is None else message,
            _text(members.pop("request_id", None)),
            _text(members.pop("trace_id", None)),
            _text(members.pop("task_id", None)),
            members,
            text,
            True,
        )

    def _raw(self, text: str) -> LogEntry:
        at = _raw_time(text) or self.at
        self.at = at
        level = self._raw_level(text)
        return LogEntry(self.agent_id, self.instance_id, at, level, text, None, None, None, {}, text, False)

    def _raw_level(self, text: str) -> str | None:
        if _TRACEBACK in text:
            self.in_traceback = True
            return "error"
        if self.in_traceback:
            # The frames are indented; the line after them, which names the exception, is the last.
            self.in_traceback = not text or text.startswith(" ") or _EXCEPTION_GROUP.match(text) is not None
            return "error"
        found = _LEVEL_WORD.search(text, 0, _HEAD_CHARACTERS)
        return _level(found[1]) if found else None


def _members(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b"{"):
        return None
    try:
        value = from_json(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _first(members: dict[str, Any], keys: Iterable[str], read: Any) -> Any:
    """The first of the members that can be read, which is taken out."""
    for key in keys:
        if key in members and (value := read(members[key])) is not None:
            del members[key]
            return value
    return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _level(value: object) -> str | None:
    return _LEVEL_NAMES.get(str(value).lower())


def _moment(value: object) -> datetime | None:
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            # Milliseconds since 1970, where seconds would be thousands of years.
            return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _raw_time(text: str) -> datetime | None:
    if not (found := _STAMP.match(text)):
        return None
    try:
        # Without a zone it is this machine's.
        return datetime.fromisoformat(found[1].replace(",", ".")).astimezone(UTC)
    except ValueError:
        return None
