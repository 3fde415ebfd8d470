from __future__ import annotations

import pytest

from agent_service.contract import AdapterAction, AdapterStatus
from manager.supervision.pausing import missing_action
from manager.supervision.states import DesiredState
from tests.unit.manager.fakes.clock import FakeClock, run
from tests.unit.manager.fakes.world import TTL_SECONDS, World

RUNNING, PAUSED, STOPPED = DesiredState


@pytest.mark.parametrize("desired", DesiredState)
@pytest.mark.parametrize("status", AdapterStatus)
@pytest.mark.parametrize("silent", [False, True])
def test_only_what_serves_and_is_heard_of_is_told_and_only_what_it_is_not(
    status: AdapterStatus, desired: DesiredState, silent: bool
) -> None:
    clock = FakeClock()

    async def scenario() -> None:
        world = World(clock)
        world.register("i-1", status=status)
        clock.advance(2 * TTL_SECONDS if silent else 0)
        world.registry.expire()
        told = {
            (AdapterStatus.RUNNING, PAUSED, False): AdapterAction.PAUSE,
            (AdapterStatus.PAUSED, RUNNING, False): AdapterAction.RESUME,
        }
        assert missing_action(world.registry.get("i-1"), desired) is told.get((status, desired, silent))

    run(scenario(), clock)


def test_one_that_has_not_registered_is_told_nothing() -> None:
    assert [missing_action(None, desired) for desired in DesiredState] == [None] * 3
