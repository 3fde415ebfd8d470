"""Stands between an agent and one server of tools that is its child, and sees that the server never outlives it.

Run by its path, in an interpreter of its own: `guardian.py LIFELINE PARENT COMMAND…`. LIFELINE is the reading end of a
pipe whose other end only the agent has: it closes with the agent, however that ends. The server reads and writes the
agent's pipes directly. POSIX only; imports the standard library only, for it must start fast and stay small.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

# Seconds between the request to end and the end.
_GRACE_SECONDS = 2.0


def main() -> NoReturn:
    """Start the server, wait until it ends or the agent has gone, end whatever is left of it; its exit status."""
    lifeline, parent, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    on_linux = sys.platform == "linux"
    libc = ctypes.CDLL(None) if on_linux else None
    # 1. A signal wakes the loop below; none of them ends this process before the server.
    wakeup = _signals_to_pipe()
    if libc is not None:
        # 2. What the server starts and leaves becomes our child. The agent may have gone before we listened.
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
    server = os.fork()
    if server == 0:
        _become(command, libc, lifeline)
    # 3. Nobody but the server holds its pipes, so that their ends mean its end.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    status = _wait(server, lifeline, wakeup)
    if status is None:
        status = _end(server)
    _sweep(server, with_orphans=on_linux)
    os._exit(status)


def _signals_to_pipe() -> int:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return reader


def _become(command: list[str], libc: ctypes.CDLL | None, lifeline: int) -> NoReturn:
    guardian = os.getppid()
    try:
        os.setsid()
        os.close(lifeline)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != guardian:
                os._exit(1)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]} cannot be executed: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _wait(server: int, lifeline: int, wakeup: int) -> int | None:
    """The server's exit status; None when the agent has gone, or somebody asked for the end."""
    while True:
        readable, _, _ = select.select([lifeline, wakeup], [], [])
        numbers = os.read(wakeup, 64) if wakeup in readable else b""
        while (ended := _reap()) is not None:
            if ended[0] == server:
                return ended[1]
        if lifeline in readable or set(numbers) - {signal.SIGCHLD}:
            return None


def _reap(*, wait: bool = False) -> tuple[int, int] | None:
    """A child that has ended and its exit status as a shell gives it; None where there is none."""
    try:
        pid, status = os.waitpid(-1, 0 if wait else os.WNOHANG)
    except ChildProcessError:
        return None
    code = os.waitstatus_to_exitcode(status)
    return (pid, code if code >= 0 else 128 - code) if pid else None


def _end(server: int) -> int:
    """Ask the server to end, then end it; its exit status."""
    _kill_group(server, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline:
        while (ended := _reap()) is not None:
            if ended[0] == server:
                return ended[1]
        time.sleep(0.01)
    return 128 + signal.SIGKILL


def _sweep(server: int, *, with_orphans: bool) -> None:
    """Kill its group, and whatever has become our child since, until nothing is left."""
    _kill_group(server, signal.SIGKILL)
    while with_orphans:
        for child in _children():
            _kill(child)
        if _reap(wait=True) is None:
            return


def _children() -> list[int]:
    own = os.getpid()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    # A program's name may hold brackets: the state and the parent follow the last one.
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == own:
                found.append(int(name))
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _kill_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


if __name__ == "__main__":
    main()
