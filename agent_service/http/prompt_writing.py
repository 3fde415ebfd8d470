"""Writing to a connection now, not at the end of the event loop's turn.

uvloop sends what was written once everything that is ready has run: whatever a handler still has to do after its answer
would delay the answer.
"""

from __future__ import annotations

import asyncio
import os
import sys


class PromptWriter:
    """Writes to the transport's socket itself, as far as that takes it at once and nothing older waits before it."""

    __slots__ = ("_descriptor", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._descriptor = _descriptor_of(transport)

    def write(self, data: bytes) -> None:
        """In the order of all that is written by this or by the transport; errors are the transport's to find."""
        transport = self._transport
        if self._descriptor is None or transport.is_closing() or transport.get_write_buffer_size():
            transport.write(data)
            return
        try:
            sent = os.write(self._descriptor, data)
        except OSError:
            sent = 0
        if sent < len(data):
            transport.write(data[sent:])


def _descriptor_of(transport: asyncio.Transport) -> int | None:
    """None where the bytes that are written are not those on the wire, and where sockets are no descriptors."""
    own = transport.get_extra_info("socket")
    is_plain = own is not None and transport.get_extra_info("ssl_object") is None and sys.platform != "win32"
    return own.fileno() if is_plain else None
