from __future__ import annotations

import asyncio

import pytest

from manager.events import EventBus
from manager.registry.cleaner import clean
from manager.registry.registry import Registry
from tests.unit.manager.fakes.adapters import registration
from tests.unit.manager.fakes.clock import FakeClock, run


@pytest.mark.parametrize("ttl", [0.1, 3.0, 30.0, 3600.0])
def test_a_silent_instance_is_found_soon_after_its_time_to_live(ttl: float) -> None:
    clock = FakeClock()
    registry = Registry(clock, EventBus(clock), interval_seconds=ttl / 5, ttl_seconds=ttl)
    purges: list[float] = []

    async def scenario() -> None:
        registry.register(registration())
        work = clean(registry, lambda: purges.append(clock.monotonic()), clock, ttl_seconds=ttl)
        cleaning = asyncio.create_task(work)
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


def test_the_managers_own_delay_makes_nobody_silent() -> None:
    clock = FakeClock()
    registry = Registry(clock, EventBus(clock), interval_seconds=1, ttl_seconds=10)

    async def scenario() -> None:
        registry.register(registration())
        cleaning = asyncio.create_task(clean(registry, lambda: None, clock, ttl_seconds=10))
        await asyncio.sleep(0.5)
        # The whole process stands still for a minute: no heartbeat could be read meanwhile.
        clock.advance(60)
        await asyncio.sleep(1)
        instance = registry.get("i-1")
        assert instance is not None
        assert not instance.expired
        await asyncio.sleep(12)
        assert instance.expired, "who stays silent afterwards is found all the same"
        cleaning.cancel()
        await asyncio.wait({cleaning})

    run(scenario(), clock)
