"""Time that the test moves: a clock, and an event loop that runs on it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_TURN_SECONDS = 1e-6
_READINGS_PER_TURN = 100_000
_TURNS = 200_000


class FakeClock:
    """Stands still until it is moved. Reading it for ever within one turn of the loop is an error, not a hang."""

    def __init__(self) -> None:
        self._seconds = 1000.0
        self._readings = 0

    def now(self) -> datetime:
        return START + timedelta(seconds=self._seconds - 1000.0)

    def monotonic(self) -> float:
        self._readings += 1
        if self._readings == _READINGS_PER_TURN:
            raise AssertionError("A task spins without ever letting go of the event loop.")
        return self._seconds

    def advance(self, seconds: float) -> None:
        self._seconds += seconds
        self._readings = 0


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a fake clock: where everybody waits, time jumps to the next deadline."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        super().__init__(_ClockSelector(clock))

    def time(self) -> float:
        return self._clock.monotonic()


class _ClockSelector(selectors.SelectSelector):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._turns += 1
        if self._turns == _TURNS:
            raise AssertionError("A task wakes again and again without waiting for anything.")
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "Nothing can happen any more: every task waits for what never comes."
            self._clock.advance(max(timeout, _TURN_SECONDS))
        return ready


def run(scenario: Coroutine[Any, Any, T], clock: FakeClock | None = None) -> T:
    """Run a scenario in virtual time; hours of it take milliseconds."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock or FakeClock())) as runner:
        return runner.run(scenario)


async def until(condition: Callable[[], object], *, within: float = 3600.0) -> None:
    """Let (virtual) time pass until `condition` holds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        waited = loop.time() - began
        assert waited < within, "What the test waits for did not come about."
        await asyncio.sleep(0.01 if waited < 30 else 0.1)


async def advance(seconds: float) -> None:
    """Let (virtual) time pass."""
    await asyncio.sleep(seconds)
