from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from agent_service.http.protocol import MAX_HEAD_BYTES, ServerProtocol
from agent_service.http.read_limits import BODY_SECONDS, HEAD_SECONDS, KEEP_ALIVE_SECONDS

HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"
TWO_BYTES = HEAD + b"Content-Length: 2\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LATE = 1.0


class Transport:
    def __init__(self) -> None:
        self.sent = b""
        self.is_closed = False
        self.is_paused = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.sent += data

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Served:
    """One connection to an application that reads, notes what it was told, and answers when it may."""

    def __init__(self) -> None:
        self.requests: list[tuple[Scope, bytes]] = []
        self.messages: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.reads = True
        self.transport = Transport()
        self.state = ServerState()
        config = Config(self.app, interface="asgi3", proxy_headers=False, ws="none", lifespan="off", log_config=None)
        self.protocol = ServerProtocol(config, self.state, {})
        self.protocol.connection_made(self.transport)  # type: ignore[arg-type]
        self.began = asyncio.get_running_loop().time()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", self.reads
        while more:
            message = await receive()
            self.messages.append(message["type"])
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        self.requests.append((scope, body))
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def send(self, data: bytes) -> None:
        self.protocol.data_received(data)
        for _ in range(5):
            await asyncio.sleep(0)

    async def later(self, seconds: float) -> None:
        """So long after the connection was made."""
        self.protocol.expire(self.began + seconds)
        for _ in range(5):
            await asyncio.sleep(0)

    @property
    def status(self) -> int:
        return int(self.transport.sent.split(b" ", 2)[1])

    @property
    def problem(self) -> dict[str, Any]:
        head, _, body = self.transport.sent.partition(b"\r\n\r\n")
        assert b"content-type: application/problem+json" in head and b"connection: close" in head
        problem: dict[str, Any] = json.loads(body)
        assert problem["status"] == self.status
        return problem


def served(work: Callable[[Served], Awaitable[None]]) -> None:
    async def scenario() -> None:
        await work(Served())

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nHost",
        b"GET / HTTP/1.1\r\n",
        b"P",
    ],
)
def test_a_head_that_is_not_finished_in_time_gets_408(data: bytes) -> None:
    async def work(client: Served) -> None:
        await client.send(data)
        await client.later(HEAD_SECONDS - LATE)
        assert not client.transport.is_closed
        await client.later(HEAD_SECONDS + LATE)
        assert client.transport.is_closed
        assert "head" in client.problem["detail"] and client.status == 408
        assert not client.requests

    served(work)


def test_a_connection_that_asks_for_nothing_is_closed_without_a_word() -> None:
    async def work(client: Served) -> None:
        await client.later(HEAD_SECONDS + LATE)
        assert client.transport.is_closed and not client.transport.sent

    served(work)


@pytest.mark.parametrize("data", [TWO_BYTES, TWO_BYTES + b"1", CHUNKED, CHUNKED + b"1\r\na\r\n"])
def test_a_body_that_does_not_come_gets_408_and_its_application_learns_of_it(data: bytes) -> None:
    async def work(client: Served) -> None:
        await client.send(data)
        await client.later(BODY_SECONDS + LATE)
        assert client.transport.is_closed
        assert "body" in client.problem["detail"] and client.status == 408
        assert client.messages[-1] == "http.disconnect"
        assert not client.requests

    served(work)


def test_a_request_that_is_there_has_all_the_time_that_its_answer_takes() -> None:
    async def work(client: Served) -> None:
        client.may_answer.clear()
        await client.send(TWO_BYTES + b"12")
        await client.later(1e6)
        assert not client.transport.is_closed
        client.may_answer.set()
        await client.later(1e6)
        assert client.status == 200 and client.requests[0][1] == b"12"

    served(work)


def test_a_connection_between_two_requests_is_kept_for_a_while() -> None:
    async def work(client: Served) -> None:
        for _ in range(3):
            await client.send(TWO_BYTES + b"12")
        assert len(client.requests) == 3 and client.transport.sent.count(b"HTTP/1.1 200") == 3
        await client.later(KEEP_ALIVE_SECONDS - LATE)
        assert not client.transport.is_closed
        await client.later(KEEP_ALIVE_SECONDS + LATE)
        assert client.transport.is_closed

    served(work)


def test_who_waits_to_be_told_to_continue_is_not_late() -> None:
    async def work(client: Served) -> None:
        client.reads = False
        client.may_answer.clear()
        await client.send(HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        await client.later(BODY_SECONDS + LATE)
        assert not client.transport.is_closed

    served(work)


def test_who_is_not_read_from_is_not_late() -> None:
    async def work(client: Served) -> None:
        client.reads = False
        client.may_answer.clear()
        await client.send(HEAD + b"Content-Length: 200000\r\n\r\n" + b"x" * 100_000)
        assert client.transport.is_paused
        await client.later(BODY_SECONDS + LATE)
        assert not client.transport.is_closed

    served(work)


def test_the_beginning_of_a_next_request_does_not_cost_the_answer_to_this_one() -> None:
    async def work(client: Served) -> None:
        client.may_answer.clear()
        await client.send(TWO_BYTES + b"12" + b"POST /next HT")
        await client.later(1e6)
        assert not client.transport.is_closed
        client.may_answer.set()
        await client.later(1e6)
        assert client.status == 200

    served(work)


def test_pipelined_requests_are_answered_one_after_the_other() -> None:
    async def work(client: Served) -> None:
        await client.send((TWO_BYTES + b"12") * 2 + TWO_BYTES)
        await client.send(b"34")
        for _ in range(10):
            await asyncio.sleep(0)
        assert [body for _, body in client.requests] == [b"12", b"12", b"34"]
        assert client.transport.sent.count(b"HTTP/1.1 200") == 3

    served(work)


def test_a_head_without_end_is_refused() -> None:
    async def work(client: Served) -> None:
        await client.send(HEAD)
        for _ in range(MAX_HEAD_BYTES // 1000 + 1):
            if not client.transport.is_closed:
                await client.send(b"X-Filler: " + b"x" * 990 + b"\r\n")
        assert client.transport.is_closed and client.status == 431
        assert str(MAX_HEAD_BYTES) in client.problem["detail"]

    served(work)


def test_what_is_no_http_gets_a_problem_document() -> None:
    async def work(client: Served) -> None:
        await client.send(b"\x16\x03\x01 hello\r\n\r\n")
        assert client.transport.is_closed and client.status == 400
        assert "HTTP/1.1" in client.problem["detail"]

    served(work)


def test_a_trailer_is_no_header() -> None:
    """No guard has looked at it: a proxy that takes X-Manager-Token out of heads lets it pass in trailers."""

    async def work(client: Served) -> None:
        await client.send(CHUNKED + b"2\r\n12\r\n0\r\nX-Manager-Token: stolen\r\n\r\n")
        scope, body = client.requests[0]
        assert body == b"12"
        assert [name for name, _ in scope["headers"]] == [b"host", b"transfer-encoding"]

    served(work)


@pytest.mark.parametrize("step", [1000, 1_000_000])
@pytest.mark.parametrize("line", [b"X: a\r\n", b"x"], ids=["many", "one"])
def test_trailers_without_end_are_refused(line: bytes, step: int) -> None:
    async def work(client: Served) -> None:
        await client.send(CHUNKED + b"2\r\n12\r\n")
        data = b"0\r\nX: " + line * (3 * MAX_HEAD_BYTES // len(line))
        for start in range(0, len(data), step):
            if not client.transport.is_closed:
                await client.send(data[start : start + step])
        assert client.transport.is_closed and client.status == 431
        assert "trailer section" in client.problem["detail"]
        assert not client.requests and client.messages[-1] == "http.disconnect"

    served(work)


def test_a_body_may_be_as_long_as_it_likes_and_its_pieces_as_short() -> None:
    async def work(client: Served) -> None:
        await client.send(CHUNKED)
        for _ in range(MAX_HEAD_BYTES // 6 + 10):
            await client.send(b"1\r\na\r\n")
        for _ in range(3):
            await client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await client.send(b"0\r\n\r\n")
        assert client.status == 200 and len(client.requests[0][1]) == MAX_HEAD_BYTES // 6 + 10 + 3 * 65536

    served(work)


@pytest.mark.parametrize(
    "header", [(b"x-injected", b"a\r\nset-cookie: b"), (b"bad name", b"a"), (b"x-null", b"\x00"), (b"", b"a")]
)
def test_an_answer_cannot_smuggle_a_header(header: tuple[bytes, bytes]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [header]})

    async def work(client: Served) -> None:
        client.protocol.app = app
        await client.send(TWO_BYTES + b"12")
        assert b"set-cookie" not in client.transport.sent and b"x-null" not in client.transport.sent

    served(work)
