"""What the kernel knows of a connection and a proxy has to know: has the peer closed it, and has it taken anything."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import sys
from collections.abc import Callable
from functools import partial

# Offset of `tcpi_bytes_acked`, a 64-bit number, in Linux's `struct tcp_info` (include/uapi/linux/tcp.h).
_BYTES_ACKED = struct.Struct("120xQ")


def second_handle(transport: asyncio.BaseTransport) -> socket.socket | None:
    """The transport's socket once more: it can still be asked when the transport has closed its own."""
    own = transport.get_extra_info("socket")
    return None if own is None else own.dup()


def quiet_check(handle: socket.socket) -> Callable[[], bool]:
    """Asks the kernel, each time anew, whether a connection is open and nothing has come by it.

    What may have come is data or an end of file, which the event loop may not have seen yet.
    """
    if not hasattr(select, "poll"):
        return partial(_is_quiet, handle)
    poll = select.poll()
    # An end and an error are told without being asked for.
    poll.register(handle, select.POLLIN)
    return lambda: not poll.poll(0)


def _is_quiet(handle: socket.socket) -> bool:
    try:
        handle.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def acknowledged_bytes(handle: socket.socket) -> int | None:
    """How many bytes of ours the peer's kernel has said it has; None where this system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    except OSError:
        return None
    # The opening of the connection (SYN) counts as one.
    return int(_BYTES_ACKED.unpack(info)[0]) - 1 if len(info) == _BYTES_ACKED.size else None
