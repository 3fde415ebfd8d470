"""How a log entry looks to a person: one line, or several where there is a traceback; it cannot drive the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from manager.cli.output import local_time, printable

# ECMA-48 attributes.
_RESET = "\x1b[0m"
_FAINT = "\x1b[2m"
_LEVEL_COLORS = {"debug": _FAINT, "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m"}
_AGENT_COLORS = tuple(f"\x1b[{number}m" for number in (36, 35, 34, 32, 96, 95, 94, 92))
_IDS = ("request_id", "trace_id", "task_id")


def rendered(entry: Mapping[str, Any], *, named: bool, colored: bool) -> str:
    """An entry of the API as `time LEVEL message key=value …`, a raw line as it is; `named`: after its agent's id."""
    level = str(entry.get("level") or "")
    text = _structured(entry, colored) if entry.get("structured") else printable(str(entry.get("line", "")))
    text = _painted(text, _LEVEL_COLORS.get(level, ""), colored)
    if not named:
        return text
    agent = printable(str(entry.get("agent_id", "")))
    return f"{_painted(f'{agent} |', _color_of(agent), colored)} {text}"


def _structured(entry: Mapping[str, Any], colored: bool) -> str:
    fields = dict(entry.get("fields") or {})
    traceback = fields.pop("exception", None)
    ids = {name: entry[name] for name in _IDS if entry.get(name)}
    details = printable(" ".join(f"{key}={_value(value)}" for key, value in {**fields, **ids}.items()))
    parts = [
        _time(entry.get("at")),
        str(entry.get("level") or "").upper().ljust(7),
        printable(str(entry.get("message", ""))),
        # Bright text stands out from faint details, but a warning is a warning to its end.
        _painted(details, _FAINT, colored and entry.get("level") in ("debug", "info", None)),
    ]
    text = " ".join(part for part in parts if part)
    return f"{text}\n{printable(str(traceback))}" if traceback else text


def _painted(text: str, color: str, colored: bool) -> str:
    return f"{color}{text}{_RESET}" if colored and color and text else text


def _color_of(agent_id: str) -> str:
    """The same one at every run."""
    return _AGENT_COLORS[sum(agent_id.encode()) % len(_AGENT_COLORS)]


def _time(stamp: Any) -> str:
    try:
        return local_time(datetime.fromisoformat(stamp))
    except (TypeError, ValueError):
        return ""


def _value(value: Any) -> str:
    if isinstance(value, str) and value and not any(character in value for character in ' "=\n'):
        return value
    return json.dumps(value, ensure_ascii=False)
