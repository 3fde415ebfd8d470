from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agent_service.contract import Unregistration
from manager.errors import NotReady, StateConflict, UnknownAgent
from tests.unit.manager.forwarding.played_adapter import (
    COMING_BACK,
    OPEN,
    REFUSED,
    REQUEST,
    Forwarding,
    PlayedConnection,
    Response,
    answers,
    play,
)


def test_an_unknown_agent_is_told() -> None:
    async def scenario() -> None:
        with pytest.raises(UnknownAgent):
            await forwarding.whole(replace(REQUEST, agent_id="nobody"))

    forwarding = Forwarding(answers())
    forwarding.run(scenario())


def test_a_paused_agent_gets_no_request() -> None:
    async def scenario() -> None:
        with pytest.raises(StateConflict, match="resume it"):
            await forwarding.whole()
        assert forwarding.requests == []

    forwarding = Forwarding(answers(), route=REFUSED)
    forwarding.run(scenario())


def test_a_refusal_during_a_restart_is_taken_to_the_successor() -> None:
    """Routed a moment before the restart began: the adapter said 409 unexecuted."""

    async def adapter(connection: PlayedConnection) -> None:
        if len(forwarding.requests) == 1:
            forwarding.router.set_route("echo", COMING_BACK)
            play(connection, Response(409))
        else:
            play(connection, Response(chunks=(b'{"result":1}',)))

    async def scenario() -> None:
        waiting = asyncio.create_task(forwarding.whole())
        await asyncio.sleep(3)
        assert not waiting.done()
        assert forwarding.instance.forwarding == 0
        forwarding.router.set_route("echo", OPEN)
        status, _, body = await waiting
        assert (status, body) == (200, b'{"result":1}')

    forwarding = Forwarding(adapter)
    forwarding.run(scenario())


def test_a_refusal_of_an_agent_that_stays_is_passed_on() -> None:
    async def scenario() -> None:
        assert (await forwarding.whole())[0] == 409
        assert len(forwarding.requests) == 1

    forwarding = Forwarding(answers(409))
    forwarding.run(scenario())


def test_a_refusal_of_an_agent_that_has_gone_meanwhile_is_passed_on() -> None:
    """An agent from elsewhere that stops says 409 and unregisters before the manager has looked at the answer."""

    async def adapter(connection: PlayedConnection) -> None:
        forwarding.registry.unregister(Unregistration(id="echo", instance_id="i-1"))
        forwarding.router.set_route("echo", None)
        play(connection, Response(409, chunks=(b"stopping",)))

    async def scenario() -> None:
        status, _, body = await forwarding.whole()
        assert (status, body) == (409, b"stopping")

    forwarding = Forwarding(adapter)
    forwarding.run(scenario())


def test_a_restart_that_never_ends_becomes_not_ready() -> None:
    async def adapter(connection: PlayedConnection) -> None:
        forwarding.router.set_route("echo", COMING_BACK)
        play(connection, Response(409))

    async def scenario() -> None:
        with pytest.raises(NotReady):
            await forwarding.whole()

    forwarding = Forwarding(adapter)
    forwarding.run(scenario())
