from __future__ import annotations

from dataclasses import replace

import pytest

from manager.errors import AdapterDied, NotReady
from manager.registry.routing import RoutePolicy
from tests.unit.manager.forwarding.played_adapter import (
    CHUNKED,
    CLOSED,
    OPEN,
    REQUEST,
    UNTOUCHED,
    Forwarding,
    Response,
    answers,
    in_turn,
    pieces,
)


def test_a_connection_is_used_again_for_what_can_be_sent_again_only() -> None:
    async def scenario() -> None:
        await forwarding.whole()
        await forwarding.whole()
        assert len(forwarding.pool.made) == 1
        await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=pieces(b"x")))
        assert len(forwarding.pool.made) == 2

    forwarding = Forwarding(answers())
    forwarding.run(scenario())


def test_a_refused_connection_is_tried_again_until_one_is_taken() -> None:
    async def scenario() -> None:
        assert (await forwarding.whole())[0] == 200
        assert forwarding.pool.tries == 3

    forwarding = Forwarding(answers(), refusals=2)
    forwarding.run(scenario())


def test_connections_that_stay_refused_become_not_ready_after_the_agent_s_patience() -> None:
    async def scenario() -> None:
        before = forwarding.clock.monotonic()
        with pytest.raises(NotReady, match="try again") as gave_up:
            await forwarding.whole()
        assert forwarding.clock.monotonic() - before == pytest.approx(10, abs=0.1)
        assert gave_up.value.agent_id == "echo"

    forwarding = Forwarding(answers(), refusals=None)
    forwarding.run(scenario())


def test_without_patience_a_refused_connection_is_final() -> None:
    async def scenario() -> None:
        with pytest.raises(NotReady):
            await forwarding.whole()
        assert forwarding.pool.tries == 1

    forwarding = Forwarding(answers(), refusals=None, route=replace(OPEN, policy=RoutePolicy(60, 0, 1024)))
    forwarding.run(scenario())


def test_a_connection_that_breaks_before_the_answer_is_not_tried_again() -> None:
    async def scenario() -> None:
        with pytest.raises(AdapterDied, match=r"closed the connection .* look at its log before you send it") as died:
            await forwarding.whole()
        assert died.value.agent_id == "echo"
        assert len(forwarding.requests) == 1

    forwarding = Forwarding(in_turn(CLOSED))
    forwarding.run(scenario())


def test_a_connection_that_breaks_before_one_byte_was_taken_is_tried_again() -> None:
    async def scenario() -> None:
        assert (await forwarding.whole())[0] == 200
        assert len(forwarding.requests) == 2

    forwarding = Forwarding(in_turn(UNTOUCHED, Response()))
    forwarding.run(scenario())


def test_a_body_that_comes_once_is_never_sent_again() -> None:
    async def scenario() -> None:
        with pytest.raises(AdapterDied):
            await forwarding.whole(replace(REQUEST, body=pieces(b"x"), headers=CHUNKED))
        assert len(forwarding.requests) == 1

    forwarding = Forwarding(in_turn(UNTOUCHED, Response()))
    forwarding.run(scenario())


def test_a_connection_that_breaks_during_the_answer_tells_so_after_what_came() -> None:
    async def scenario() -> None:
        got: list[bytes] = []
        with pytest.raises(AdapterDied):
            async with forwarding.forwarder.forward(REQUEST) as answer:
                async for chunk in answer.chunks:
                    got.append(chunk)
        assert got == [b"half"]
        assert forwarding.requests[0].is_finished

    forwarding = Forwarding(answers(200, b"half", error=CLOSED))
    forwarding.run(scenario())
