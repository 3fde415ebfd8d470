"""How late the event loop is: whatever blocks it delays every request, heartbeat and exit by as much."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from manager.clock import Clock

# Often enough to meet a block of a quarter of a second for certain; four wake-ups a second are nothing.
PERIOD_SECONDS = 0.25


async def watch_loop(clock: Clock, observe: Callable[[float], None]) -> None:
    """Tell, for ever, by how many seconds a timer came too late."""
    while True:
        due = clock.monotonic() + PERIOD_SECONDS
        await asyncio.sleep(PERIOD_SECONDS)
        observe(max(0.0, clock.monotonic() - due))
