"""Threads for agents' synchronous code, so that the event loop stays free."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """At most `limit` threads, started as they are needed."""

    def __init__(self, limit: int) -> None:
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix="agent")

    async def run(self, function: Callable[..., T], *arguments: Any, on_cancel: Callable[[], None] | None = None) -> T:
        """`function(*arguments)` in a thread, with the caller's context variables.

        A thread cannot be interrupted: cancelled, this calls `on_cancel` and returns only when the thread has ended.
        """
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, context.run, _call, function, arguments)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if on_cancel is not None:
                on_cancel()
            await _end_of(future)
            raise

    def close(self) -> None:
        """Let idle threads end; busy ones are left alone."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def _end_of(future: asyncio.Future[Any]) -> None:
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError:
            # Already cancelled; what is waited for is the thread.
            continue
    if not future.cancelled():
        # Read it, or asyncio complains that nobody did.
        future.exception()


def _call(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    try:
        return function(*arguments)
    except StopIteration as error:
        # A future cannot carry it, and would never be done.
        raise RuntimeError("The agent's code raised StopIteration") from error
