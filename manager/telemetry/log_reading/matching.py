"""Which lines match a query: first many lines by what they cannot do without, then line by line."""

from __future__ import annotations

import json
from collections.abc import Iterable

from manager.telemetry.log_reading.entry import LEVELS, Context, LogEntry
from manager.telemetry.log_reading.expression import Expression
from manager.telemetry.log_reading.query import LogQuery

# What a line of a level or a graver one contains, in lower case; a traceback is an error.
_ERROR_SIGNS = (b"error", b"critical", b"fatal", b"traceback", b'"err"')
_SIGNS = {"warning": (b"warn", *_ERROR_SIGNS), "error": _ERROR_SIGNS, "critical": (b"critical", b"fatal")}

# Letters outside ASCII that are not so in lower case: the first is k, the second i with a dot of its own after it.
_KELVIN, _DOTTED_I = "\u212a".encode(), "\u0130".encode()


class Matcher:
    """Tells of lines whether they may match, which is quick, and of entries whether they do.

    Raises `BadRequest` for an expression that is none, or, at a line, one that does not come to an end.
    """

    def __init__(self, query: LogQuery) -> None:
        self._query = query
        ids = {"request_id": query.request, "trace_id": query.trace, "task_id": query.task}
        self._ids = [_escaped(value).encode() for value in ids.values() if value]
        self._wanted = [(name, value) for name, value in (ids | {"instance_id": query.instance}).items() if value]
        self._levels = frozenset(LEVELS[LEVELS.index(query.level) :]) if query.level else None
        self._signs = _SIGNS.get(query.level or "", ())
        self._instance = _unescaped(query.instance or "")
        self._texts = _spellings(query.text) if query.text else []
        self._odd_letters = _odd_letters(self._texts)
        self._expression = Expression(query.regex) if query.regex else None
        self._is_said_by_all = not (self._ids or self._texts or self._expression)

    def may_match(self, lines: bytes) -> bool:
        """Whether any of whole lines can match, but for those that inherit what is wanted."""
        if not all(value in lines for value in self._ids) or self._instance not in lines:
            return False
        if self._signs and not _has_any(self._signs, lines.lower()):
            return False
        if self._texts and not _has_any(self._texts, self._lowered(lines)):
            return False
        return self._expression is None or self._expression.may_be_in(lines)

    @property
    def is_inherited(self) -> bool:
        """Whether raw lines can match by what stands before them."""
        return bool(self._signs or self._query.instance)

    def may_inherit(self, context: Context) -> bool:
        """Whether a raw line can match by what stands before it."""
        instance = self._query.instance
        return context.in_traceback or (instance is not None and instance == context.instance_id)

    def says(self, line: bytes) -> bool:
        """Whether a line holds the text, the expression and the ids that are looked for."""
        if self._is_said_by_all:
            return True
        if not all(value in line for value in self._ids):
            return False
        if self._texts and not _has_any(self._texts, self._lowered(line)):
            return False
        return self._expression is None or self._expression.is_in(line)

    def matches(self, entry: LogEntry) -> bool:
        """Whether the entry of a line that says it is also of the level, the ids and the time that are looked for."""
        if self._levels is not None and entry.level not in self._levels:
            return False
        for name, value in self._wanted:
            if getattr(entry, name) != value:
                return False
        return self._is_in_time(entry)

    def _is_in_time(self, entry: LogEntry) -> bool:
        since, until = self._query.since, self._query.until
        if since is None and until is None:
            return True
        if entry.at is None:
            return False
        return (since is None or entry.at >= since) and (until is None or entry.at <= until)

    def _lowered(self, data: bytes) -> bytes:
        """In lower case, as far as the texts have to do with it."""
        if data.isascii() or not _has_any(self._odd_letters, data):
            return data.lower()
        return data.decode("utf-8", "replace").lower().encode()


def _has_any(texts: Iterable[bytes], data: bytes) -> bool:
    return any(text in data for text in texts)


def _spellings(text: str) -> list[bytes]:
    """The text as it may stand in a line, in lower case: as it is, and as JSON escapes it."""
    lowered = text.lower()
    return list({lowered.encode(), _escaped(lowered).encode(), _escaped(text).lower().encode()})


def _odd_letters(texts: list[bytes]) -> list[bytes]:
    """What data outside ASCII contains where the texts may be found in it though not in that of lower-case bytes."""
    if not all(map(bytes.isascii, texts)):
        return [b""]
    letters = {_KELVIN: any(b"k" in text for text in texts), _DOTTED_I: any(text.endswith(b"i") for text in texts)}
    return [letter for letter, is_odd in letters.items() if is_odd]


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


def _unescaped(text: str) -> bytes:
    """The text, if it stands in JSON as it is, whoever writes it; else nothing."""
    return text.encode() if text.isascii() and text.replace("-", "").isalnum() else b""
