"""Log lines: which of them are new, and how one looks to a person."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from manager.cli.output import local_time, printable


def new_lines(before: Sequence[str], now: Sequence[str]) -> tuple[list[str], bool]:
    """The lines of `now` that follow those of `before`, and whether none can be missing between them.

    Both are the newest lines of one log at two times. They are aligned where the longest end of `before` begins
    `now`; without such a place more was written between the two than `now` can show, or the log began anew.
    A last line that was still being written comes again, whole.
    """
    for start in range(max(len(before) - len(now), 0), len(before)):
        old_end = before[start:]
        overlap = len(old_end)
        if list(old_end[:-1]) == list(now[: overlap - 1]) and _continues(old_end[-1], now[overlap - 1]):
            is_same = old_end[-1] == now[overlap - 1]
            return list(now[overlap if is_same else overlap - 1 :]), True
    return list(now), not before


def rendered(line: str) -> str:
    """A structured line as `time LEVEL event key=value …`, any other as it is; neither can drive the terminal."""
    fields = _fields(line)
    event = fields.pop("event", None)
    if not isinstance(event, str):
        return printable(line)
    traceback = fields.pop("exception", None)
    parts = [_time(fields.pop("timestamp", None)), str(fields.pop("level", "")).upper().ljust(7), event]
    parts += [f"{key}={_value(value)}" for key, value in fields.items()]
    text = " ".join(part for part in parts if part)
    return printable(f"{text}\n{traceback}" if traceback else text)


def _continues(old: str, new: str) -> bool:
    return old == new or (old != "" and new.startswith(old))


def _fields(line: str) -> dict[str, Any]:
    if not line.startswith("{"):
        return {}
    try:
        fields = json.loads(line)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _time(stamp: Any) -> str:
    try:
        return local_time(datetime.fromisoformat(stamp))
    except (TypeError, ValueError):
        return "" if stamp is None else str(stamp)


def _value(value: Any) -> str:
    if isinstance(value, str) and value and not any(character in value for character in ' "=\n'):
        return value
    return json.dumps(value, ensure_ascii=False)
