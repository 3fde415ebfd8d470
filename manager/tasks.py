"""Long-lived tasks with a name and an owner, whose death is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import structlog

log = structlog.get_logger(__name__)


class TaskOwner:
    """Starts tasks that are to run until `close`; one that ends by itself is reported with its reason."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Coroutine[object, object, None], *, may_end: bool = False) -> asyncio.Task[None]:
        """Run `work` until it is closed; with `may_end` only an error is worth a word when it ends earlier."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, may_end=may_end))
        return task

    async def close(self) -> None:
        """Cancel every task and wait until it has gone."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None], *, may_end: bool) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and not (may_end and task.exception() is None):
            log.critical("A long-lived task has ended", task=task.get_name(), exc_info=task.exception())
