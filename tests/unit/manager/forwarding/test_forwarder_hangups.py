from __future__ import annotations

import asyncio

import pytest

from manager.errors import AdapterTimeout
from tests.unit.manager.forwarding.played_adapter import (
    COMING_BACK,
    Forwarding,
    PlayedConnection,
    Response,
    answers,
    play,
)


def test_a_task_over_its_time_is_hung_up_on_and_named() -> None:
    async def scenario() -> None:
        before = forwarding.clock.monotonic()
        with pytest.raises(AdapterTimeout, match=r"executeTimeoutSeconds \(60 s\)") as timeout:
            await forwarding.whole()
        assert forwarding.clock.monotonic() - before == pytest.approx(60, abs=0.1)
        assert timeout.value.agent_id == "echo"

    async def never(connection: PlayedConnection) -> None:
        await asyncio.Event().wait()

    forwarding = Forwarding(never)
    forwarding.run(scenario())


def test_the_time_limit_holds_for_the_body_too() -> None:
    async def scenario() -> None:
        with pytest.raises(AdapterTimeout):
            await forwarding.whole()
        assert forwarding.requests[0].is_finished

    forwarding = Forwarding(answers(200, b"begun", hold=True))
    forwarding.run(scenario())


@pytest.mark.parametrize("seconds", [0.001, 1.0])
def test_a_client_that_hangs_up_hangs_up_on_the_adapter(seconds: float) -> None:
    """Before the answer's head and during its body alike."""

    async def slowly(connection: PlayedConnection) -> None:
        await asyncio.sleep(0.5)
        play(connection, Response(chunks=(b"begun",), hold=True))

    async def scenario() -> None:
        forwarded = asyncio.create_task(forwarding.whole())
        await asyncio.sleep(seconds)
        assert forwarding.instance.forwarding == 1
        forwarded.cancel()
        await asyncio.wait({forwarded})
        assert forwarded.cancelled()
        assert forwarding.requests[0].is_finished

    forwarding = Forwarding(slowly)
    forwarding.run(scenario())


def test_a_client_that_hangs_up_while_it_waits_for_the_agent_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        forwarded = asyncio.create_task(forwarding.whole())
        await asyncio.sleep(1)
        forwarded.cancel()
        await asyncio.wait({forwarded})
        assert forwarding.requests == []

    forwarding = Forwarding(answers(), route=COMING_BACK)
    forwarding.run(scenario())
