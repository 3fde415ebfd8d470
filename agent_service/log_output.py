"""What a process prints, without the secrets in it: `sys.stdout` and `sys.stderr` as an agent finds them.

Each write is looked at as a whole and handed on before it returns: a `kill -9` finds nothing here to take along. What
writes to the descriptors themselves (C code, child processes, `os.write`) does not come this way.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from agent_service.log_redaction import KEY_BEGIN, KEY_END, Redaction

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_KEY_BEGIN = re.compile(KEY_BEGIN)
_KEY_END = re.compile(KEY_END)
# Base64, a header as of RFC 1421, or nothing.
_KEY_LINE = re.compile(rb"\s*(?:[A-Za-z0-9+/=]{16,}|[A-Za-z-]+: .*)?\s*")


class RedactedOutput(io.BufferedIOBase):
    """A binary stream whose writes reach others without what a log must not hold. Raises what those raise."""

    def __init__(self, redaction: Redaction, streams: Sequence[BinaryIO]) -> None:
        """The first of `streams` is the one that this one is taken for."""
        self._redaction = redaction
        self._streams = streams
        # Of a private key that is written line by line, only its first line has the shape of one.
        self._is_in_key = False
        self._is_in_line = False

    def write(self, data: ReadableBuffer, /) -> int:
        """How many bytes `data` has."""
        raw = bytes(data)
        clean = self._redaction.raw(self._without_rest_of_key(raw))
        self._notice_key(raw)
        if clean:
            self._is_in_line = not clean.endswith(b"\n")
        for stream in self._streams:
            stream.write(clean)
        return len(raw)

    def flush(self) -> None:
        """Get out what the streams themselves hold."""
        for stream in self._streams:
            stream.flush()

    @property
    def name(self) -> object:
        return self._streams[0].name

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._streams[0].fileno()

    def isatty(self) -> bool:
        return self._streams[0].isatty()

    def _without_rest_of_key(self, raw: bytes) -> bytes:
        while self._is_in_key and raw:
            line, _, rest = raw.partition(b"\n")
            end = _KEY_END.search(line)
            if end is not None:
                self._is_in_key = False
                return raw[end.end() :]
            if _KEY_LINE.fullmatch(line) is None:
                self._is_in_key = False
                # The mark that stands for the key has taken the end of its line.
                return b"\n" + raw if self._is_in_line else raw
            raw = rest
        return raw

    def _notice_key(self, raw: bytes) -> None:
        if b"-----BEGIN" in raw:
            begins = [each.end() for each in _KEY_BEGIN.finditer(raw)]
            self._is_in_key = bool(begins) and _KEY_END.search(raw, begins[-1]) is None
