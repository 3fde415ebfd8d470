from __future__ import annotations

import asyncio

import pytest

from manager.events import EventBus
from manager.registry.cleaner import clean
from manager.registry.registry import Registry
from tests.unit.manager.fakes import FakeClock, registration, run


@pytest.mark.parametrize("ttl", [0.1, 3.0, 30.0, 3600.0])
def test_a_silent_instance_is_found_soon_after_its_time_to_live(ttl: float) -> None:
    clock = FakeClock()
    registry = Registry(clock, EventBus(clock), interval_seconds=ttl / 5, ttl_seconds=ttl)
    purges: list[float] = []

    async def scenario() -> None:
        registry.register(registration())
        cleaning = asyncio.create_task(clean(registry, lambda: purges.append(clock.monotonic()), ttl_seconds=ttl))
        await asyncio.sleep(ttl * 0.99)
        instance = registry.get("i-1")
        assert instance is not None
        assert not instance.expired
        await asyncio.sleep(ttl * 0.01 + max(ttl / 2, 0.05) + 0.01)
        assert instance.expired
        cleaning.cancel()
        await asyncio.wait({cleaning})

    run(scenario(), clock)
    assert purges
