"""Ports that nobody listens on at this moment."""

from __future__ import annotations

import socket

from agent_service.errors import ConfigError, PortInUse
from agent_service.http.sockets import listen


def free_port(host: str) -> int:
    """One that the operating system picks."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether no process listens there. What this process alone may not bind counts as free: another one may."""
    try:
        listen(host, port).close()
    except PortInUse:
        return False
    except ConfigError:
        return True
    return True
