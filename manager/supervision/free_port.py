"""A port that nobody listens on at this moment."""

from __future__ import annotations

import socket


def free_port(host: str) -> int:
    """One that the operating system picks."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
