from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from agent_service.errors import BodyTooLarge
from agent_service.http.client.answer import RawHeaders
from agent_service.http.extensions import EXTENSIONS, INTERIM
from manager.forwarding.alarms import Alarms
from manager.forwarding.client import GATHERED_BYTES, PATIENCE_SECONDS, Client
from tests.unit.manager.fakes.clock import run

CHUNKED: RawHeaders = [(b"transfer-encoding", b"chunked")]
GONE: Message = {"type": "http.disconnect"}


def piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def length(size: int) -> RawHeaders:
    return [(b"content-length", b"%d" % size)]


async def send(message: Message) -> None:
    raise AssertionError(message)


class Receiving:
    """ASGI's receive: the messages in turn, then a client that stays."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.left = asyncio.Event()

    async def __call__(self) -> Message:
        if self.messages:
            return self.messages.pop(0)
        await self.left.wait()
        return GONE


def client(headers: RawHeaders, *messages: Message, limit: int = 10 * GATHERED_BYTES) -> tuple[Client, Receiving]:
    receiving = Receiving(*messages)
    return Client({"headers": headers}, receiving, send, limit, Alarms()), receiving


def scenario(coroutine: Coroutine[Any, Any, None]) -> None:
    run(coroutine)


def test_a_small_body_of_known_length_is_read_as_a_whole() -> None:
    async def work() -> None:
        asked, _ = client(length(4), piece(b"ab", more=True), piece(b"cd", more=False))
        assert await asked.body() == b"abcd"

    scenario(work())


def test_a_body_that_is_there_at_once_is_whole_whatever_its_framing() -> None:
    async def work() -> None:
        asked, _ = client(CHUNKED, piece(b"ab", more=False))
        assert await asked.body() == b"ab"

    scenario(work())


@pytest.mark.parametrize("headers", [CHUNKED, length(GATHERED_BYTES + 1)], ids=["unknown length", "large"])
def test_other_bodies_come_in_pieces(headers: RawHeaders) -> None:
    async def work() -> None:
        asked, _ = client(headers, piece(b"ab", more=True), piece(b"", more=True), piece(b"cd", more=False))
        body = await asked.body()
        assert not isinstance(body, bytes)
        assert [each async for each in body] == [b"ab", b"cd"]

    scenario(work())


def test_a_client_that_asks_first_is_not_read_from_before_its_body_is_wanted() -> None:
    async def work() -> None:
        asked, receiving = client([*length(2), (b"expect", b"100-Continue")], piece(b"ab", more=False))
        assert asked.asks_first
        body = await asked.body()
        assert len(receiving.messages) == 1
        assert not isinstance(body, bytes)
        assert [each async for each in body] == [b"ab"]

    scenario(work())


def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    async def work() -> None:
        with pytest.raises(BodyTooLarge):
            client(length(11), limit=10)
        asked, _ = client(length(10), piece(b"x" * 10, more=False), limit=10)
        assert len(await asked.body()) == 10  # type: ignore[arg-type]

    scenario(work())


@pytest.mark.parametrize("more", [True, False])
def test_a_body_that_grows_over_the_limit_is_refused(more: bool) -> None:
    async def work() -> None:
        asked, _ = client(CHUNKED, piece(b"x" * 6, more=more), piece(b"x" * 6, more=False), limit=10 if more else 5)
        with pytest.raises(BodyTooLarge):
            body = await asked.body()
            assert not isinstance(body, bytes)
            async for _ in body:
                pass

    scenario(work())


@pytest.mark.parametrize("headers", [length(4), CHUNKED])
def test_a_client_that_leaves_before_the_end_of_its_body_is_noticed(headers: RawHeaders) -> None:
    async def work() -> None:
        asked, _ = client(headers, piece(b"ab", more=True), GONE)
        with pytest.raises(ClientDisconnect):
            body = await asked.body()
            assert not isinstance(body, bytes)
            async for _ in body:
                pass

    scenario(work())


def test_the_block_is_left_silently_when_the_client_leaves() -> None:
    async def work() -> None:
        asked, receiving = client(length(2), piece(b"ab", more=False))
        await asked.body()
        asyncio.get_running_loop().call_later(5, receiving.left.set)
        before = asyncio.get_running_loop().time()
        async with asked:
            await asyncio.sleep(3600)
        assert asyncio.get_running_loop().time() - before == pytest.approx(5, abs=2 * PATIENCE_SECONDS)
        # The task itself goes on.
        await asyncio.sleep(1)

    scenario(work())


def test_a_cancellation_by_somebody_else_goes_through() -> None:
    async def inner() -> None:
        asked, _ = client(length(2), piece(b"ab", more=False))
        await asked.body()
        async with asked:
            await asyncio.sleep(3600)

    async def work() -> None:
        task = asyncio.create_task(inner())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    scenario(work())


def test_what_is_raised_in_the_block_goes_through() -> None:
    async def work() -> None:
        asked, _ = client(length(2), piece(b"ab", more=False))
        await asked.body()
        with pytest.raises(LookupError):
            async with asked:
                await asyncio.sleep(1)
                raise LookupError

    scenario(work())


def test_nobody_is_left_watching_when_the_answer_is_over() -> None:
    async def work() -> None:
        asked, _ = client(length(2), piece(b"ab", more=False))
        await asked.body()
        async with asked:
            await asyncio.sleep(1)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    scenario(work())


HINTS: RawHeaders = [(b"link", b"</a>"), (b"connection", b"x-hop"), (b"x-hop", b"1")]


@pytest.mark.parametrize(
    ("expect", "extensions", "status", "is_told"),
    [
        (b"", EXTENSIONS, 103, True),
        (b"", EXTENSIONS, 100, True),
        (b"100-continue", EXTENSIONS, 103, True),
        (b"100-continue", EXTENSIONS, 100, False),
        (b"", {}, 103, False),
        (b"", None, 103, False),
    ],
    ids=["hints", "100 unasked", "hints before 100", "100 that our server says", "HTTP/1.0", "another server"],
)
def test_interim_answers_pass_without_what_is_of_the_connection(
    expect: bytes, extensions: dict[str, Any] | None, status: int, is_told: bool
) -> None:
    async def work() -> None:
        sent: list[Message] = []

        async def note(message: Message) -> None:
            sent.append(message)

        scope: dict[str, Any] = {"headers": [(b"expect", expect)]}
        if extensions is not None:
            scope["extensions"] = extensions
        await Client(scope, Receiving(), note, 10, Alarms()).tell_interim(status, HINTS)
        expected = {"type": INTERIM, "status": status, "headers": [(b"link", b"</a>")]}
        assert sent == ([expected] if is_told else [])

    scenario(work())


@pytest.mark.parametrize(
    ("headers", "extensions", "takes"),
    [
        ([(b"te", b"trailers")], EXTENSIONS, True),
        ([(b"te", b"trailers")], {}, False),
        ([(b"te", b"gzip")], EXTENSIONS, False),
        ([], EXTENSIONS, False),
    ],
    ids=["asked", "HTTP/1.0", "another coding", "not asked"],
)
def test_trailers_are_for_clients_that_ask_for_them(headers: RawHeaders, extensions: Any, takes: bool) -> None:
    async def work() -> None:
        asked = Client({"headers": headers, "extensions": extensions}, Receiving(), send, 10, Alarms())
        assert asked.takes_trailers is takes

    scenario(work())
