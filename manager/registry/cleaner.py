"""The registry's cleaner: marks the instances that fell silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from manager.registry.registry import Registry


async def clean(registry: Registry, purge: Callable[[], None], *, ttl_seconds: float) -> None:
    """Look a few times per time to live, for ever; `purge` forgets what has been lost for too long."""
    period = min(max(ttl_seconds / 10, 0.05), 1.0)
    while True:
        await asyncio.sleep(period)
        registry.expire()
        purge()
