from __future__ import annotations

import asyncio
from contextlib import suppress

from manager.errors import StoreUnavailable
from manager.events import Event, EventBus, EventKind
from manager.store.directory_watch import watch_state_directory
from tests.unit.manager.fakes.clock import FakeClock, run


class Directory:
    """Stands in for the lock: `is_lost` is what somebody has done to it."""

    is_lost = False

    def check(self) -> None:
        if self.is_lost:
            raise StoreUnavailable("It was removed; restart the manager.")


def test_each_loss_is_said_once_within_seconds() -> None:
    clock, directory, said = FakeClock(), Directory(), list[Event]()

    async def scenario() -> None:
        bus = EventBus(clock)
        bus.listen(said.append)
        watching = asyncio.create_task(watch_state_directory(directory.check, bus))
        for is_lost, count in ((False, 0), (True, 1), (False, 1), (True, 2)):
            directory.is_lost = is_lost
            await asyncio.sleep(6)
            assert len(said) == count
            await asyncio.sleep(60)
            assert len(said) == count
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    run(scenario(), clock)
    assert {(event.kind, event.message) for event in said} == {
        (EventKind.STATE_DIRECTORY_LOST, "It was removed; restart the manager.")
    }
