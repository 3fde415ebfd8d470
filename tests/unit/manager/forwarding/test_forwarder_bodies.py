from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from tests.unit.manager.forwarding.played_adapter import (
    CHUNKED,
    REQUEST,
    Forwarding,
    PlayedConnection,
    Response,
    after_upload,
    answers,
    pieces,
    play,
)


def test_pieces_of_a_body_of_known_length_go_as_they_are() -> None:
    async def scenario() -> None:
        headers = [(b"content-length", b"6")]
        await forwarding.whole(replace(REQUEST, headers=headers, body=pieces(b"abc", b"def")))
        (request,) = forwarding.requests
        assert request.values("content-length") == ["6"]
        assert request.values("transfer-encoding") == []
        assert request.body == b"abcdef"
        assert request.is_ended

    forwarding = Forwarding(after_upload)
    forwarding.run(scenario())


def test_a_body_of_unknown_length_goes_in_chunks() -> None:
    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=pieces(b"abc", b"x" * 16)))
        (request,) = forwarding.requests
        assert request.values("content-length") == []
        assert request.values("transfer-encoding") == ["chunked"]
        assert request.body == b"3\r\nabc\r\n10\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n"

    forwarding = Forwarding(after_upload)
    forwarding.run(scenario())


def test_a_whole_body_that_came_in_chunks_goes_in_a_chunk() -> None:
    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=b"whole"))
        (request,) = forwarding.requests
        assert (request.values("content-length"), request.values("transfer-encoding")) == ([], ["chunked"])
        assert request.body == b"5\r\nwhole\r\n0\r\n\r\n"

    forwarding = Forwarding(answers())
    forwarding.run(scenario())


def test_an_answer_that_comes_before_the_body_has_gone_is_passed_on() -> None:
    async def endless() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"x"
            await asyncio.sleep(1)

    async def scenario() -> None:
        status, _, _ = await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=endless()))
        assert status == 413
        assert not forwarding.pool.kept or not forwarding.requests[0].is_ended

    forwarding = Forwarding(answers(413))
    forwarding.run(scenario())


def test_what_the_body_raises_is_what_the_caller_gets() -> None:
    async def broken() -> AsyncGenerator[bytes, None]:
        yield b"x"
        raise LookupError("the client has gone")

    async def never(connection: PlayedConnection) -> None:
        await asyncio.Event().wait()

    async def scenario() -> None:
        with pytest.raises(LookupError):
            await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=broken()))

    forwarding = Forwarding(never)
    forwarding.run(scenario())


@pytest.mark.parametrize(("said", "sent"), [("continue", b"1\r\nx\r\n0\r\n\r\n"), ("417", b"")])
def test_a_body_that_was_asked_about_goes_only_where_it_is_wanted(said: str, sent: bytes) -> None:
    async def adapter(connection: PlayedConnection) -> None:
        assert connection.values("expect") == ["100-continue"]
        await asyncio.sleep(0.5)
        assert connection.body == b""
        if said == "417":
            play(connection, Response(417))
            return
        connection.answer.take_interim(100, [])
        await after_upload(connection)

    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=pieces(b"x"), asks_first=True))
        assert forwarding.requests[0].body == sent

    forwarding = Forwarding(adapter)
    forwarding.run(scenario())


def test_a_body_that_was_asked_about_in_vain_goes_after_a_second() -> None:
    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=pieces(b"x"), asks_first=True))
        assert forwarding.clock.monotonic() >= 1001

    forwarding = Forwarding(after_upload)
    forwarding.run(scenario())
