"""Lines from a stream whose other end may send anything: a line that is too long costs no memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

_CHUNK_BYTES = 64 * 1024
_END_BYTES = 256


@dataclass(frozen=True)
class Line:
    """One line without its end. `length` in bytes; of one over the limit, `text` is the beginning and `end` the end."""

    text: bytes
    length: int
    end: bytes = b""

    @property
    def is_whole(self) -> bool:
        """Nothing of it is left out."""
        return self.length == len(self.text)


async def bounded_lines(reader: asyncio.StreamReader, limit_bytes: int) -> AsyncIterator[Line]:
    """Each line as it comes, and what stands behind the last line end. `limit_bytes` of a line are kept at most."""
    text, end, length = bytearray(), b"", 0
    while chunk := await reader.read(_CHUNK_BYTES):
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            text += part[: max(0, limit_bytes - len(text))]
            length += len(part)
            yield Line(bytes(text), length, (end + part)[-_END_BYTES:])
            text, end, length = bytearray(), b"", 0
        text += rest[: max(0, limit_bytes - len(text))]
        end = (end + rest)[-_END_BYTES:]
        length += len(rest)
    if length:
        yield Line(bytes(text), length, end)
