"""A fork server's door: its listening socket, in a directory of its own, and the lock that keeps another one out."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from pathlib import Path

from agent_service.errors import AdapterError
from agent_service.forkserver.address import peer, short_name

_BACKLOG = 64


class AlreadyServed(AdapterError):
    """Another fork server holds the socket path."""


class Door:
    """The listening socket and its lock, from the construction to `close` or the end of the process.

    Raises `AlreadyServed`, or OSError where the directory cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        _make_private(path.parent)
        self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise AlreadyServed(f"Another fork server serves {path}; end that one first.") from error
        # Whoever left this file is dead, or it would hold the lock.
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_name(path) as name:
            self.listener.bind(name)
        self.listener.listen(_BACKLOG)
        self.listener.setblocking(False)

    def accept(self) -> socket.socket | None:
        """The next connection; None where it is a stranger's, or has gone again."""
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return None
        if peer(connection).uid in (os.geteuid(), 0):
            return connection
        connection.close()
        return None

    def close(self) -> None:
        """Give the path up, so that another fork server may take it. Harmless when repeated."""
        if self.listener.fileno() >= 0:
            # The lock goes last: what is unlinked must be ours.
            self._path.unlink(missing_ok=True)
            self.listener.close()
            os.close(self._lock)


def _make_private(directory: Path) -> None:
    """Make a directory that nobody else can enter. Raises OSError, also where it is somebody else's."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.stat()
    if found.st_uid != os.geteuid():
        raise PermissionError(f"The directory {directory} belongs to another user; remove it or choose another one.")
    if stat.S_IMODE(found.st_mode) != 0o700:
        directory.chmod(0o700)
