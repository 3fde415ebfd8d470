"""An answer's head leaves together with the first of its body: in one packet, by one system call.

Uvicorn writes each ASGI message by itself. Small answers then cost a system call more on this side, and often another
wake-up on the peer's. A head whose body is not there yet leaves when the event loop has its next turn.
"""

from __future__ import annotations

import asyncio
from typing import Any

from agent_service.http.prompt_writing import PromptWriter

# Bytes from which on joining two pieces would cost more than it saves.
FULL = 64 * 1024


class Joining:
    """The methods of a transport that uvicorn uses."""

    __slots__ = ("_held", "_loop", "_transport", "_write")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._write = PromptWriter(transport).write
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        """Hold one piece, for this turn of the loop at most; the next one takes it along."""
        if self._held:
            # `data` may be large: it is copied once, as the transport would.
            self._write(self._held + data)
            self._held = b""
        elif len(data) >= FULL:
            self._write(data)
        elif data:
            self._held = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Close once everything is sent."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once; what has not been sent is not."""
        self._held = b""
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def _flush(self) -> None:
        if self._held:
            self._write(self._held)
            self._held = b""
