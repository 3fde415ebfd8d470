"""One turn at a time on one thread, among all instances of an agent on this machine.

A lock is one byte of a file, by the hash of its name: the operating system lets go of it when its process dies, and
nothing is left behind.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent_service.errors import StateConflict

# Seconds between two looks at a lock that another process holds; nothing announces its end.
FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.25

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int, offset: int) -> bool:
        os.lseek(descriptor, offset, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int, offset: int) -> None:
        os.lseek(descriptor, offset, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int, offset: int) -> bool:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(descriptor: int, offset: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, offset)


class ThreadLocks:
    """Locks by name in one file. POSIX drops a process's locks with its first descriptor of the file: open it once."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        # Those of this process, which the operating system would not keep apart; by byte, as other processes see them.
        self._queues: dict[int, asyncio.Lock] = {}
        self._users: Counter[int] = Counter()

    @asynccontextmanager
    async def held(self, name: str, *, wait: bool = True) -> AsyncIterator[None]:
        """Holds the lock inside, once all who asked earlier are done. Without `wait` raises `StateConflict` instead."""
        offset = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) >> 2
        if not wait and self._users[offset]:
            raise _busy(name)
        async with self._queue(offset):
            await self._take(offset, name, wait)
            try:
                yield
            finally:
                _unlock(self._descriptor, offset)

    @asynccontextmanager
    async def _queue(self, offset: int) -> AsyncIterator[None]:
        self._users[offset] += 1
        try:
            async with self._queues.setdefault(offset, asyncio.Lock()):
                yield
        finally:
            self._users[offset] -= 1
            if not self._users[offset]:
                del self._users[offset], self._queues[offset]

    def close(self) -> None:
        """Let go of all of them."""
        os.close(self._descriptor)

    async def _take(self, offset: int, name: str, wait: bool) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not _try_lock(self._descriptor, offset):
            if not wait:
                raise _busy(name)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _busy(name: str) -> StateConflict:
    return StateConflict(f"A call on the thread {name!r} is under way; try again once it has ended.")
