"""What every transport gives a session."""

from __future__ import annotations

from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]
Streams = tuple[Incoming, Outgoing]

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""One message of a server may be so long; a longer answer fails its call."""


def request_id(value: object) -> int | None:
    """The number of one of our own requests; None for anything else."""
    return value if isinstance(value, int) else None
