"""A regular expression that is looked for in lines: first in many of them at once, then in each.

The engine finds out by itself what text every match contains, and passes over lines without it as fast as they can be
read; but not if it is started for each line.
"""

from __future__ import annotations

import math
import re

import regex

from manager.errors import BadRequest

# For one line; an honest expression takes microseconds.
REGEX_SECONDS = 0.25
# All counts of an expression, multiplied.
MAX_REPETITIONS = 10_000

_COUNT = re.compile(r"(?<=[{,])\d+(?=[,}])")

# How long lines are looked through at once before it is each line's turn, but at least for a moment.
_SECONDS_PER_BYTE = 0.3e-6
_FEWEST_SECONDS = 0.005
# What may be lost so in all; then lines are no longer looked through at once.
_WASTED_SECONDS = 0.5

_ANY_CASE = "(?i)"
# No look around, no place but the ends of a line, nothing that refuses to give back what it took: a line's match is one
# in any text that the line is in.
_INDEPENDENT = re.compile(
    r"(?:\\[dDwWsSbt]|\\[^\w]|\(\?:|\(\?P<\w+>|\((?![?*])|\{\d*,?\d*\}(?!\+)|[*+?](?!\+)|[^\\({*+?])*"
)
_ESCAPED_SIGN = re.compile(r"\\[()\[|]")
# At most one group, and no other alternatives than those in it.
_ONE_CHOICE = re.compile(r"([^()\[|]*)\((?:\?:)?(?!\?)([^()\[]+)\)(?![*+?{])([^()\[|]*)|()([^()\[]+)()")
_MOST_ALTERNATIVES = 8


class Expression:
    """Raises `BadRequest` for a pattern that is none, or, at a line, one that does not come to an end."""

    def __init__(self, pattern: str) -> None:
        self._line = _compiled(pattern, 0)
        self._alternatives = [_compiled(each, regex.MULTILINE) for each in _alternatives(pattern)]
        self._has_end = "$" in pattern
        self._wasted = 0.0

    def is_in(self, line: bytes) -> bool:
        """Whether a line, without its end, has a match."""
        try:
            return self._line.search(line.decode("utf-8", "replace"), timeout=REGEX_SECONDS) is not None
        except TimeoutError:
            raise BadRequest(
                f"regex took more than {REGEX_SECONDS:g} s on one line; write it without nested repetition."
            ) from None

    def may_be_in(self, lines: bytes) -> bool:
        """Whether any of whole lines, with their ends, can have a match."""
        # `$` is before \n, but a line also ends before \r\n.
        if not self._alternatives or self._wasted >= _WASTED_SECONDS or (self._has_end and b"\r" in lines):
            return True
        text = lines.decode("utf-8", "replace")
        seconds = min(max(_FEWEST_SECONDS, len(lines) * _SECONDS_PER_BYTE), REGEX_SECONDS)
        try:
            return any(each.search(text, timeout=seconds) for each in self._alternatives)
        except TimeoutError:
            self._wasted += seconds
            return True


def _alternatives(pattern: str) -> list[str]:
    """Patterns of which one matches in a text with a line that the pattern matches; none where that cannot be told."""
    body = pattern.removeprefix(_ANY_CASE)
    flag = pattern[: len(pattern) - len(body)]
    if not _INDEPENDENT.fullmatch(body):
        return []
    choice = None if _ESCAPED_SIGN.search(body) else _ONE_CHOICE.fullmatch(body)
    if choice is None or body.count("|") >= _MOST_ALTERNATIVES:
        return [pattern]
    before, middle, after = choice.groups()[:3] if choice[2] else choice.groups()[3:]
    return [f"{flag}{before}{each}{after}" for each in middle.split("|")]


def _compiled(pattern: str, flags: int) -> regex.Pattern[str]:
    # A counted repetition is unrolled: a few characters could otherwise take all memory there is.
    counts = [int(count) for count in _COUNT.findall(pattern)]
    if math.prod(max(count, 1) for count in counts) > MAX_REPETITIONS:
        raise BadRequest(
            f"regex repeats more than {MAX_REPETITIONS} times by counts such as {{9}}; use * or + instead."
        )
    try:
        return regex.compile(pattern, flags)
    except (regex.error, OverflowError, RecursionError, MemoryError) as error:
        raise BadRequest(f"regex is no regular expression ({error}); correct it, or search for a text.") from error
