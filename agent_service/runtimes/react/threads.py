"""One agent's conversations, to be listed, read and deleted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from agent_service.contract import Thread, ThreadPage
from agent_service.errors import NoSuchThread
from agent_service.runtimes.react.agent import config
from agent_service.runtimes.react.conversation import all_on_the_wire
from agent_service.runtimes.react.memory import Memory


class Threads:
    """`graph`: the agent's, which knows what is left to do on a thread."""

    def __init__(self, memory: Memory, graph: Any) -> None:
        self._memory = memory
        self._graph = graph

    async def page(self, limit: int, before: str | None) -> ThreadPage:
        """The newest `limit` threads, or those that come after the cursor `before`."""
        threads, following = await self._memory.listed(limit, before)
        return ThreadPage(threads=threads, next=following)

    async def read(self, thread_id: str) -> Thread:
        """One thread whole. Raises `NoSuchThread`."""
        snapshot = await self._graph.aget_state(config(thread_id))
        if snapshot.created_at is None:
            raise _unknown(thread_id)
        return Thread(
            thread_id=thread_id,
            updated_at=datetime.fromisoformat(snapshot.created_at),
            unfinished=bool(snapshot.next),
            messages=all_on_the_wire(snapshot.values.get("messages", [])),
        )

    async def delete(self, thread_id: str) -> None:
        """Forget a thread. Raises `NoSuchThread`, and `StateConflict` while a call is under way on it."""
        async with self._memory.locks.held(thread_id, wait=False):
            if await self._memory.saver.aget_tuple(config(thread_id)) is None:
                raise _unknown(thread_id)
            await self._memory.saver.adelete_thread(thread_id)


def _unknown(thread_id: str) -> NoSuchThread:
    return NoSuchThread(f"The agent has no thread {thread_id!r}; GET /threads lists those that it has.")
