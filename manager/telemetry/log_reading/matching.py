"""Which lines match a query: first whole blocks by what they cannot do without, then line by line."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

import regex

from manager.errors import BadRequest
from manager.telemetry.log_reading.entry import LEVELS, LogEntry
from manager.telemetry.log_reading.query import LogQuery

# For one line; an honest expression takes microseconds.
REGEX_SECONDS = 0.25
# All counts of an expression, multiplied.
MAX_REPETITIONS = 10_000

_COUNT = re.compile(r"(?<=[{,])\d+(?=[,}])")

# What a line of a level or a graver one contains, in lower case; a traceback is an error.
_ERROR_SIGNS = (b"error", b"critical", b"fatal", b"traceback", b'"err"')
_SIGNS = {"warning": (b"warn", *_ERROR_SIGNS), "error": _ERROR_SIGNS, "critical": (b"critical", b"fatal")}

# Alternatives, groups, classes, counts, flags and escapes but the ordinary classes: what is in them may not be needed.
_COMPLEX = re.compile(r"[|()\[\]{}]|\\(?![dDwWsSbB.])")
# Ordinary characters that no repetition follows; the last before one may be absent.
_LITERAL = re.compile(r"(?<!\\)[A-Za-z0-9 _:,/'\"=-]+(?![?*A-Za-z0-9 _:,/'\"=-])")


class Matcher:
    """Tells of blocks and lines whether they may match, which is quick, and of entries whether they do.

    Raises `BadRequest` for an expression that is none, or, at a line, one that does not come to an end.
    """

    def __init__(self, query: LogQuery) -> None:
        self._query = query
        # An instance's id is not in its raw lines.
        ids = (query.request, query.trace, query.task)
        self._ids = [_escaped(value).encode() for value in ids if value]
        self._levels = frozenset(LEVELS[LEVELS.index(query.level) :]) if query.level else None
        self._signs = _SIGNS.get(query.level or "", ())
        self._texts = _spellings(query.text) if query.text else []
        self._literal = _literal_in(query.regex).encode() if query.regex else b""
        self._search = _compiled(query.regex) if query.regex else None

    def may_match(self, data: bytes) -> bool:
        """Whether any line of `data` can match."""
        if self._literal not in data or not all(value in data for value in self._ids):
            return False
        if not (self._signs or self._texts):
            return True
        lowered = data.lower()
        if self._signs and not any(sign in lowered for sign in self._signs):
            return False
        # Bytes tell upper from lower case of ASCII letters only.
        return not self._texts or not all(map(bytes.isascii, self._texts)) or self._has_text(lowered)

    def says(self, line: bytes) -> bool:
        """Whether a line holds the text, the expression and the ids that are looked for."""
        if not all(value in line for value in self._ids) or self._literal not in line:
            return False
        if self._texts and not self._has_text(line.lower() if line.isascii() else _lowered(line)):
            return False
        return self._search is None or self._search(line.decode("utf-8", "replace"))

    def matches(self, entry: LogEntry) -> bool:
        """Whether the entry of a line that says it is also of the level, the ids and the time that are looked for."""
        query = self._query
        if self._levels is not None and entry.level not in self._levels:
            return False
        wanted = (
            (query.instance, entry.instance_id),
            (query.request, entry.request_id),
            (query.trace, entry.trace_id),
            (query.task, entry.task_id),
        )
        if any(value is not None and value != found for value, found in wanted):
            return False
        return self._is_in_time(entry)

    def _is_in_time(self, entry: LogEntry) -> bool:
        since, until = self._query.since, self._query.until
        if since is None and until is None:
            return True
        if entry.at is None:
            return False
        return (since is None or entry.at >= since) and (until is None or entry.at <= until)

    def _has_text(self, lowered: bytes) -> bool:
        return any(text in lowered for text in self._texts)


def _spellings(text: str) -> list[bytes]:
    """The text as it may stand in a line, in lower case: as it is, and as JSON escapes it."""
    lowered = text.lower()
    return list({lowered.encode(), _escaped(lowered).encode(), _escaped(text).lower().encode()})


def _lowered(line: bytes) -> bytes:
    return line.decode("utf-8", "replace").lower().encode()


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


def _literal_in(pattern: str) -> str:
    """A text that every match of the expression contains, where that is plain to see; else none."""
    if _COMPLEX.search(pattern):
        return ""
    return max(_LITERAL.findall(pattern), key=len, default="")


def _compiled(pattern: str) -> Callable[[str], bool]:
    # A counted repetition is unrolled: a few characters could otherwise take all memory there is.
    counts = [int(count) for count in _COUNT.findall(pattern)]
    if math.prod(max(count, 1) for count in counts) > MAX_REPETITIONS:
        raise BadRequest(
            f"regex repeats more than {MAX_REPETITIONS} times by counts such as {{9}}; use * or + instead."
        )
    try:
        compiled = regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError, MemoryError) as error:
        raise BadRequest(f"regex is no regular expression ({error}); correct it, or search for a text.") from error

    def search(line: str) -> bool:
        try:
            return compiled.search(line, timeout=REGEX_SECONDS) is not None
        except TimeoutError:
            raise BadRequest(
                f"regex took more than {REGEX_SECONDS:g} s on one line; write it without nested repetition."
            ) from None

    return search
