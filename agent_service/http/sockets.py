"""The listening socket: bound before anything slow happens, so that a port conflict shows at once."""

from __future__ import annotations

import errno
import os
import socket
import sys

from agent_service.errors import ConfigError, PortInUse

# Connections that wait to be accepted: thousands of agents register at once after their manager's death. Linux cuts
# this down to net.core.somaxconn, 4,096 by default.
BACKLOG = 8192


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on `host` and `port` (0: the system picks one). Raises `PortInUse`, `ConfigError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"The host {host!r} is no address of this machine ({error}); correct it.") from error
    listener = socket.socket(family, kind, protocol)
    try:
        # On POSIX this lets a restarted adapter take its port back from TIME_WAIT; on Windows it would let
        # two processes share one port, and exclusive use is what is wanted.
        if sys.platform == "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Two sockets may be bound to one port until one of them listens: the conflict shows only here.
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _explained(error, host, port) from error
    return listener


def inherited(descriptor: int) -> socket.socket:
    """A listening socket that whoever started this process has handed down. Raises `ConfigError`.

    The descriptor itself stays open, for a successor in the same process.
    """
    try:
        listener = socket.socket(fileno=os.dup(descriptor))
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            listener.close()
            raise OSError(errno.EINVAL, "it does not listen")
    except OSError as error:
        raise ConfigError(
            f"The descriptor {descriptor} is no listening socket ({error.strerror}); hand one down, or name none."
        ) from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket, *, host: str) -> str:
    """`http://host:port` with the port that was really bound."""
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _explained(error: OSError, host: str, port: int) -> ConfigError | PortInUse:
    if error.errno == errno.EADDRINUSE:
        return PortInUse(f"Port {port} on {host} is in use by another process; stop that one or choose another port.")
    return ConfigError(f"Port {port} on {host} cannot be bound ({error.strerror}); choose another host or port.")
