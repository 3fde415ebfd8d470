"""SIGHUP: the config is read again, unless it means that the manager's own terminal was closed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable

import structlog

from manager.errors import ManagerError

ACTOR = "SIGHUP"

log = structlog.get_logger(__name__)


async def reload_on_hangup(reload: Callable[[], Awaitable[object]], *, stop: Callable[[], object]) -> None:
    """Call `reload` at each SIGHUP, for ever; signals that come during one reload are one more together.

    When the terminal that the manager was started at is closed, `stop` is called instead: a person who closes a window
    expects no fleet to go on behind it. With SIGHUP ignored at the start (`nohup`) it does go on.
    Where there is no such signal (Windows) nothing ever happens.
    """
    if sys.platform == "win32":
        await asyncio.Event().wait()
        return
    follows_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()
    outputs = [descriptor for descriptor in (0, 1, 2) if _is_terminal(descriptor)]
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, heard.set)
    closed = False
    try:
        while True:
            await heard.wait()
            heard.clear()
            if not follows_terminal or _has_terminal():
                await _try(reload)
            # The shell sends one, and then the system another: a drain must outlive them all.
            elif not closed:
                closed = True
                _leave_terminal(outputs)
                log.warning("The terminal was closed; the manager stops")
                stop()
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def _try(reload: Callable[[], Awaitable[object]]) -> None:
    try:
        await reload()
    except ManagerError as error:
        log.warning("Config was not reloaded", error=error.detail)
    except Exception:  # outermost loop: were this task to end, the next SIGHUP would end the manager
        log.exception("Reload failed")


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal that is there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def _leave_terminal(descriptors: Iterable[int]) -> None:
    # Printing to a terminal that has gone is an error, which nobody could read.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
