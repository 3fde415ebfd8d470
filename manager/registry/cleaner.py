"""The registry's cleaner: marks the instances that fell silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from manager.clock import Clock
from manager.registry.registry import Registry


async def clean(registry: Registry, purge: Callable[[], None], clock: Clock, *, ttl_seconds: float) -> None:
    """Look a few times per time to live, for ever; `purge` forgets what has been lost for too long.

    When the manager itself was held up (a busy machine, a stopped process), heartbeats wait in its sockets: what it
    slept too long is given to every instance, so that none is called silent for the manager's own delay.
    """
    period = min(max(ttl_seconds / 10, 0.05), 1.0)
    while True:
        slept_from = clock.monotonic()
        await asyncio.sleep(period)
        held_up = clock.monotonic() - slept_from - period
        if held_up > period:
            registry.extend(held_up)
        registry.expire()
        purge()
