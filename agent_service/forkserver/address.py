"""How a fork server's socket is reached, and who is at the other end of a connection. Standard library only."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

# Bytes of a Unix socket's path, its closing NUL included, that fit into the kernel's structure.
_PATH_BYTES = 108


class Peer(NamedTuple):
    """The process that connected, or the one that listened, and its user."""

    pid: int
    uid: int


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name for the socket at `path` that fits into an address, valid while inside; `path.name` must be short."""
    if len(os.fsencode(path)) < _PATH_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def connect(path: Path) -> socket.socket:
    """A connection to the fork server at `path`. Raises OSError where none listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        with short_name(path) as name:
            connection.connect(name)
    except OSError:
        connection.close()
        raise
    return connection


def peer(connection: socket.socket) -> Peer:
    """Who is at the other end, as the kernel tells."""
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return Peer(pid, uid)
