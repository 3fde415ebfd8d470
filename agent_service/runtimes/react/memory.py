"""Conversations by thread, in one SQLite file that all instances of the agent share."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiosqlite
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agent_service.contract import ThreadEntry
from agent_service.errors import EntryPointError
from agent_service.runtimes.react.thread_locks import ThreadLocks

DATABASE = "threads.sqlite"
LOCKS = "threads.lock"
# Seconds that a write waits for another instance's.
BUSY_SECONDS = 30.0
_SETUP = "setup/"
_GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)

_LIST = """
SELECT thread_id, MAX(checkpoint_id) AS newest FROM checkpoints WHERE checkpoint_ns = ''
GROUP BY thread_id HAVING newest < ? ORDER BY newest DESC LIMIT ?
"""
_PRUNE = """
DELETE FROM {table} WHERE thread_id = ? AND checkpoint_id <
(SELECT MAX(checkpoint_id) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = '')
"""


@dataclass(frozen=True)
class Memory:
    """Open; see `opened`."""

    saver: AsyncSqliteSaver
    locks: ThreadLocks

    async def listed(self, limit: int, before: str | None) -> tuple[list[ThreadEntry], str | None]:
        """The threads by their last step, newest first, and where the next page begins; None after the last."""
        async with self.saver.lock, self.saver.conn.execute(_LIST, (before or "~", limit + 1)) as rows:
            found = [(str(thread_id), str(newest)) async for thread_id, newest in rows]
        following = found[limit - 1][1] if len(found) > limit else None
        page = [ThreadEntry(thread_id=thread_id, updated_at=_moment(newest)) for thread_id, newest in found[:limit]]
        return page, following

    async def prune(self, thread_id: str) -> None:
        """Keep the newest step only: each holds the whole conversation."""
        async with self.saver.lock:
            for table in ("writes", "checkpoints"):
                await self.saver.conn.execute(_PRUNE.format(table=table), (thread_id, thread_id))
            await self.saver.conn.commit()

    async def close(self) -> None:
        """End the connection; what was written is on disk already."""
        await self.saver.conn.close()
        self.locks.close()


async def opened(directory: Path) -> Memory:
    """The memory in that directory, made where it is missing. Raises `EntryPointError`."""
    try:
        locks = await asyncio.to_thread(_locks_in, directory)
        connection = await aiosqlite.connect(directory / DATABASE, timeout=BUSY_SECONDS)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(directory, error) from error
    memory = Memory(AsyncSqliteSaver(connection), locks)
    try:
        # Instances that start together would find the file locked while the first one switches to WAL.
        async with locks.held(_SETUP):
            await memory.saver.setup()
    except sqlite3.Error as error:
        await memory.close()
        raise _unusable(directory, error) from error
    return memory


@asynccontextmanager
async def turn_of(memory: Memory, thread_id: str) -> AsyncIterator[None]:
    """The thread is this turn's alone inside; a turn that ends well leaves only its last step."""
    async with memory.locks.held(thread_id):
        yield
        await memory.prune(thread_id)


def _locks_in(directory: Path) -> ThreadLocks:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return ThreadLocks(directory / LOCKS)


def _unusable(directory: Path, error: Exception) -> EntryPointError:
    return EntryPointError(
        f"The agent's threads cannot be kept in {str(directory)!r} ({error}); "
        "make the directory writable, or name another one as AGENT_STATE_DIRECTORY."
    )


def _moment(checkpoint_id: str) -> datetime:
    """The time in a checkpoint's id, a UUID of version 6: 100 ns since the calendar's reform."""
    number = uuid.UUID(checkpoint_id).int
    ticks = (number >> 80) << 12 | (number >> 64) & 0xFFF
    return _GREGORIAN + timedelta(microseconds=ticks // 10)
