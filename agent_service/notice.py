"""A notice board: wakes everybody who waits, once per announcement."""

from __future__ import annotations

import asyncio


class Notice:
    """`announce` wakes all present waiters; who waits afterwards waits for the next one.

    A waiter looks at the facts first and waits second, both without an await between, so that none is missed.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def announce(self) -> None:
        """Wake everybody who waits now."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, timeout_seconds: float) -> None:
        """Return at the next announcement, or after `timeout_seconds`."""
        event = self._event
        try:
            async with asyncio.timeout(timeout_seconds):
                await event.wait()
        except TimeoutError:
            return
