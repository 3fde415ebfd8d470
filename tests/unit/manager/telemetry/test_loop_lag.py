from __future__ import annotations

import asyncio

import pytest

from manager.telemetry.loop_lag import PERIOD_SECONDS, watch_loop
from tests.unit.manager.fakes.clock import FakeClock, advance, run


def test_it_tells_how_much_too_late_a_timer_came() -> None:
    clock, lags = FakeClock(), list[float]()

    async def scenario() -> None:
        task = asyncio.create_task(watch_loop(clock, lags.append))
        await advance(10 * PERIOD_SECONDS + 0.1)
        # Somebody blocks the loop.
        clock.advance(2.0)
        await advance(0.01)
        task.cancel()
        await asyncio.wait({task})

    run(scenario(), clock)
    assert len(lags) == 11
    assert max(lags[:10]) < 0.001
    assert lags[10] == pytest.approx(2.1 - PERIOD_SECONDS, abs=0.01)
