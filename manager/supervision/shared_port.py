"""The listener of an agent's own port, taken over from a living process of the agent where nobody else has it left."""

from __future__ import annotations

import ctypes
import os
import socket
import sys

import psutil

from agent_service.errors import ConfigError
from agent_service.http.sockets import inherited
from manager.supervision.identity import is_running
from manager.supervision.process import ProcessIdentity

# The same number on every architecture that this runs on; Python has no function for it.
_PIDFD_GETFD = 438


class PortKept(Exception):
    """The process listens there, and the system does not let us have a second descriptor. The message says why."""


def take_listener(identity: ProcessIdentity, port: int) -> socket.socket | None:
    """A second descriptor of the socket by which that very process listens at `port`; None where it does not.

    Raises `PortKept`: before Linux 5.6, on other systems, and where only a parent may look into a process (Yama).
    """
    descriptor = _listening_descriptor(identity.pid, port)
    if descriptor is None:
        return None
    if sys.platform != "linux":
        raise PortKept("this system hands no descriptor of one process to another")
    try:
        process = os.pidfd_open(identity.pid)
    except OSError:
        return None
    try:
        # Only from here on its number is surely its own.
        return _second(process, descriptor) if is_running(identity) else None
    finally:
        os.close(process)


def _listening_descriptor(pid: int, port: int) -> int | None:
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return None
    found = (each.fd for each in connections if each.status == psutil.CONN_LISTEN and each.laddr.port == port)
    return next(found, None)


def _second(process: int, descriptor: int) -> socket.socket | None:
    libc = ctypes.CDLL(None, use_errno=True)
    taken = libc.syscall(_PIDFD_GETFD, process, descriptor, 0)
    if taken < 0:
        raise PortKept(os.strerror(ctypes.get_errno()))
    try:
        return inherited(taken)
    except ConfigError:
        # It was closed meanwhile, and its number given to something else.
        return None
    finally:
        os.close(taken)
