"""How a test has an agent stopped, and how its process ended."""

from __future__ import annotations

import asyncio

from manager.supervision.states import DesiredState
from tests.unit.manager.supervision.supervised import Supervised


def stop(world: Supervised, seconds: float | None = None, reason: str = "stop by alice") -> None:
    world.supervisor.want(DesiredState.STOPPED, drain_seconds=seconds, reason=reason)


def reason_of_last_exit(world: Supervised) -> str:
    assert world.supervisor.last_exit is not None
    return world.supervisor.last_exit.reason


async def ended(world: Supervised) -> float:
    """Wait for the newest process to end; answers how long that took."""
    before = world.clock.monotonic()
    await asyncio.wait({world.process.exited})
    return world.clock.monotonic() - before
