from __future__ import annotations

from dataclasses import replace

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


def test_without_tokens_none_is_sent_not_even_the_client_s() -> None:
    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, headers=[(b"x-manager-token", b"guess")]))
        assert forwarding.requests[0].values("x-manager-token") == []

    forwarding = Forwarding(answers(), tokens=())
    forwarding.run(scenario())


async def takes_only_the_old_token(connection: PlayedConnection) -> None:
    play(connection, Response(200 if connection.values("x-manager-token") == ["old"] else 401))


def test_an_adapter_that_holds_only_the_previous_token_is_given_that() -> None:
    async def scenario() -> None:
        for _ in range(3):
            assert (await forwarding.whole())[0] == 200
        assert tried == [["new"], ["old"], ["old"], ["old"]]

    async def adapter(connection: PlayedConnection) -> None:
        tried.append(connection.values("x-manager-token"))
        await takes_only_the_old_token(connection)

    tried: list[list[str]] = []
    forwarding = Forwarding(adapter, tokens=("new", "old"))
    forwarding.run(scenario())


def test_a_body_that_comes_once_goes_with_the_token_that_was_found_before() -> None:
    async def adapter(connection: PlayedConnection) -> None:
        if connection.head.startswith(b"GET "):
            await takes_only_the_old_token(connection)
        else:
            await after_upload(connection)

    async def scenario() -> None:
        for _ in range(2):
            await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=pieces(b"abc")))
        starts = [request.head.split(b" HTTP")[0] for request in forwarding.requests]
        assert starts == [b"GET /answers/token", b"GET /answers/token", b"POST /execute", b"POST /execute"]
        assert forwarding.requests[2].values("x-manager-token") == ["old"]
        assert forwarding.requests[2].body == b"3\r\nabc\r\n0\r\n\r\n"

    forwarding = Forwarding(adapter, tokens=("new", "old"))
    forwarding.run(scenario())


def test_an_adapter_that_takes_no_token_says_so_to_the_client() -> None:
    async def scenario() -> None:
        for _ in range(2):
            assert (await forwarding.whole())[0] == 401
        assert len(forwarding.requests) == 3

    forwarding = Forwarding(answers(401), tokens=("new", "old"))
    forwarding.run(scenario())
