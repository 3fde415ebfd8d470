"""The managers that are connected, and the exits that none of them has acknowledged yet."""

from __future__ import annotations

import json
import os
import socket
from collections import OrderedDict, deque

import structlog

from agent_service.forkserver.channel import Channel, ChannelClosed
from agent_service.forkserver.wire import Answer, ExitNotice

# Exits that nobody asks about are forgotten, the oldest first.
KEPT_EXITS = 10_000

log = structlog.stdlib.get_logger(__name__)


class Connection:
    """One manager. Requests are worked off one at a time, so that no burst of them delays the reaping of children."""

    def __init__(self, connection: socket.socket) -> None:
        self.channel = Channel(connection)
        self.requests: deque[bytes] = deque()

    def receive(self) -> None:
        """Queue what has come. Raises `ChannelClosed`."""
        self.requests.extend(line for line in self.channel.receive() if line.strip())

    def answer(self, answer: Answer, descriptor: int | None = None) -> None:
        """Send it. Raises `ChannelClosed`."""
        self.channel.send(answer.model_dump_json().encode(), descriptor)

    def take_listener(self) -> socket.socket | None:
        """The socket that was attached to the request."""
        descriptor = self.channel.take_descriptor()
        return None if descriptor is None else _as_listener(descriptor)


class KeptExits:
    """In the order in which they happened."""

    def __init__(self) -> None:
        self._notices: OrderedDict[str, ExitNotice] = OrderedDict()

    def keep(self, notice: ExitNotice) -> None:
        """Keep it until it is acknowledged."""
        self._notices[notice.instance_id] = notice
        if len(self._notices) > KEPT_EXITS:
            self._notices.popitem(last=False)

    def drop(self, instance_ids: tuple[str, ...]) -> None:
        """These are known."""
        for instance_id in instance_ids:
            self._notices.pop(instance_id, None)

    def tell(self, connection: Connection) -> None:
        """Tell a manager that just came. Raises `ChannelClosed`."""
        for notice in self._notices.values():
            connection.channel.send(notice.model_dump_json().encode())


def request_id(line: bytes) -> int | None:
    """The id in a request that is otherwise not understood, so that its sender knows which one it was."""
    try:
        found = json.loads(line)["id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, int) else None


def _as_listener(descriptor: int) -> socket.socket:
    """Raises `ChannelClosed` where it is no listening socket."""
    try:
        listener = socket.socket(fileno=descriptor)
        if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return listener
        listener.close()
    except OSError:
        os.close(descriptor)
    raise ChannelClosed("the peer attached a descriptor that is no listening socket")
