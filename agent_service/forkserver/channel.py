"""Lines and descriptors over one non-blocking Unix stream socket. Imports the standard library only."""

from __future__ import annotations

import array
import os
import socket
from collections import deque

_READ_BYTES = 256 * 1024
_MAX_LINE_BYTES = 8 * 1024 * 1024
_MAX_UNSENT_BYTES = 64 * 1024 * 1024
_MAX_DESCRIPTORS = 16
_DESCRIPTOR_SPACE = socket.CMSG_SPACE(_MAX_DESCRIPTORS * 4) if hasattr(socket, "CMSG_SPACE") else 0


class ChannelClosed(ConnectionError):
    """The peer has gone, or does not keep to the protocol."""


class Channel:
    """Its owner calls `receive` when the socket is readable, and `flush` when it is writable and there is something."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._received = bytearray()
        self._descriptors: deque[int] = deque()
        self._unsent: deque[tuple[bytes, int | None]] = deque()

    def fileno(self) -> int:
        """For selectors; -1 once it is closed."""
        return self._connection.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether `flush` has something to do."""
        return bool(self._unsent)

    def receive(self) -> list[bytes]:
        """The complete lines that have come, perhaps none. Raises `ChannelClosed`."""
        try:
            data, ancillary, flags, _ = self._connection.recvmsg(
                _READ_BYTES, _DESCRIPTOR_SPACE, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return []
        except OSError as error:
            raise ChannelClosed(str(error)) from error
        self._note_descriptors(ancillary)
        if not data or flags & socket.MSG_CTRUNC or len(self._descriptors) > _MAX_DESCRIPTORS:
            raise ChannelClosed(
                "the peer has gone" if not data else "the peer sent more descriptors than lines for them"
            )
        # Only the new part is searched: a long line that comes in many parts is looked at once.
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = bytes(self._received) + lines[0]
            self._received.clear()
        self._received += rest
        if len(self._received) > _MAX_LINE_BYTES:
            raise ChannelClosed(f"the peer sent a line of more than {_MAX_LINE_BYTES} bytes")
        return lines

    def take_descriptor(self) -> int | None:
        """The oldest descriptor that came and was not taken yet; the caller owns it from now on."""
        return self._descriptors.popleft() if self._descriptors else None

    @property
    def has_descriptor(self) -> bool:
        """Whether a descriptor waits to be taken."""
        return bool(self._descriptors)

    def send(self, line: bytes, descriptor: int | None = None) -> None:
        """Send a line, now or as soon as the peer takes it; a descriptor is duplicated. Raises `ChannelClosed`."""
        self._unsent.append((line + b"\n", None if descriptor is None else os.dup(descriptor)))
        self.flush()

    def flush(self) -> None:
        """Send what can be sent now. Raises `ChannelClosed`, also where the peer reads nothing at all."""
        while self._unsent:
            line, descriptor = self._unsent[0]
            rights = (
                [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
            )
            try:
                count = self._connection.sendmsg([line], rights)
            except BlockingIOError:
                break
            except OSError as error:
                raise ChannelClosed(str(error)) from error
            if descriptor is not None:
                os.close(descriptor)
            if count < len(line):
                # The descriptor went with the first byte.
                self._unsent[0] = (line[count:], None)
            else:
                self._unsent.popleft()
        if sum(len(line) for line, _ in self._unsent) > _MAX_UNSENT_BYTES:
            raise ChannelClosed("the peer does not read what it is sent")

    def close(self) -> None:
        """Close the socket and every descriptor that nobody took."""
        self._connection.close()
        for descriptor in [*self._descriptors, *(each for _, each in self._unsent if each is not None)]:
            os.close(descriptor)
        self._descriptors.clear()
        self._unsent.clear()

    def _note_descriptors(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found = array.array("i")
                found.frombytes(data[: len(data) - len(data) % found.itemsize])
                self._descriptors.extend(found)
