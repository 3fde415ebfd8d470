"""Tells when a process has ended: by pidfd where there is one (Linux), else by a waiting thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable


def watch_exit(pid: int, is_it: Callable[[], bool], wait: Callable[[], object], on_end: Callable[[], None]) -> None:
    """Call `on_end` once, on the running event loop, when process `pid` has ended; at once if it already has.

    `is_it`: whether the number still belongs to the process that is meant. `wait`: blocks until its end; it runs in the
    thread, where there is no pidfd.
    """
    loop = asyncio.get_running_loop()
    if not hasattr(os, "pidfd_open"):
        _watch_in_thread(pid, wait, lambda: loop.call_soon_threadsafe(on_end))
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        on_end()
        return
    # The number may have passed to a stranger before the descriptor was there: look again, holding it.
    if not is_it():
        os.close(descriptor)
        on_end()
        return

    def readable() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        on_end()

    loop.add_reader(descriptor, readable)


def _watch_in_thread(pid: int, wait: Callable[[], object], announce: Callable[[], object]) -> None:
    # A thread each: a pool of them would be taken by the first few processes, for as long as those live.
    def run() -> None:
        wait()
        # The event loop has gone when the manager leaves its agents running.
        with contextlib.suppress(RuntimeError):
            announce()

    threading.Thread(target=run, name=f"wait for pid {pid}", daemon=True).start()
