"""A regular expression that is looked for in lines: first in many of them at once, then in each.

By RE2, which takes the same time for every expression: none can keep a search from coming to an end.
"""

from __future__ import annotations

import re
from typing import Any

import re2

from manager.errors import BadRequest

# Where it matters how far the text goes: in many lines that is not the end of each.
_OF_TEXT = re.compile(r"\\[Az]|\(\?[A-Za-z]*-")


class Expression:
    """Raises `BadRequest` for a pattern that is none."""

    def __init__(self, pattern: str) -> None:
        self._in_line = _compiled(pattern)
        # Nothing in RE2 says what must not stand beside a match: one in a line is one in all texts with that line.
        self._in_lines = None if _OF_TEXT.search(pattern) else _compiled(f"(?m){pattern}")
        self._has_end = "$" in pattern

    def is_in(self, line: bytes) -> bool:
        """Whether a line, without its end, has a match."""
        return self._in_line.search(_utf8(line)) is not None

    def may_be_in(self, lines: bytes) -> bool:
        """Whether any of whole lines, with their ends, can have a match."""
        # `$` is before \n, but a line also ends before \r\n.
        if self._in_lines is None or (self._has_end and b"\r" in lines):
            return True
        return self._in_lines.search(_utf8(lines)) is not None


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    # It would print what it thinks of a pattern.
    options.log_errors = False
    try:
        return re2.compile(pattern.encode(errors="replace"), options)
    except re2.error as error:
        said = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise BadRequest(
            f"regex is no regular expression as RE2 knows them ({said}); correct it, or search for a text."
        ) from error


def _utf8(data: bytes) -> bytes:
    """What RE2 takes for text as a whole."""
    return data if data.isascii() else data.decode("utf-8", "replace").encode()
