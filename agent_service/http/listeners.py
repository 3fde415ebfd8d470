"""The public listeners: one socket per agent, bound once and kept while its processes come and go.

Connections that arrive while an agent restarts wait in the socket's backlog instead of being refused.
"""

from __future__ import annotations

import socket

from agent_service.http.sockets import listen


class PublicListeners:
    """By agent id. Whoever takes a listener uses it without closing it."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self._listeners: dict[str, socket.socket] = {}

    def find(self, agent_id: str, port: int) -> socket.socket | None:
        """The agent's listener, if it is at that port."""
        listener = self._listeners.get(agent_id)
        return listener if listener is not None and _port(listener) == port else None

    def take(self, agent_id: str, port: int) -> socket.socket:
        """The agent's listener, bound now if there is none at that port. Raises `PortInUse`, `ConfigError`."""
        listener = self.find(agent_id, port)
        if listener is None:
            listener = listen(self._host, port)
            self.keep(agent_id, listener)
        return listener

    def keep(self, agent_id: str, listener: socket.socket) -> None:
        """From now on this is the agent's listener; an earlier one is closed."""
        # One that was received takes itself for blocking, and its next `dup` would make it so in every process that
        # shares it: all of them wake for a connection, one gets it, and the others would wait in accept() with
        # their event loop, deaf to signals.
        listener.setblocking(False)
        self.release(agent_id)
        self._listeners[agent_id] = listener

    def release(self, agent_id: str) -> None:
        """Close the agent's listener, if there is one; processes that hold it go on with it."""
        listener = self._listeners.pop(agent_id, None)
        if listener is not None:
            listener.close()

    def close(self) -> None:
        """Close all of them."""
        for agent_id in list(self._listeners):
            self.release(agent_id)


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])
