"""Interim answers and trailers of an application. h11, which is strict, reads what comes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from agent_service.http.client.answer import RawHeaders
from agent_service.http.extensions import EXTENSIONS, INTERIM, TRAILERS
from tests.unit.agent_service.http.test_protocol import HEAD, TWO_BYTES, Served, served

REQUEST = TWO_BYTES + b"12"
CHECKSUM = (b"x-checksum", b"1")
HINTS: Message = {"type": INTERIM, "status": 103, "headers": [(b"link", b"</a>")]}
END: Message = {"type": TRAILERS, "headers": [CHECKSUM]}


def start(trailers: bool = True, status: int = 200, headers: RawHeaders | None = None) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers or [], "trailers": trailers}


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def answering(*messages: Message) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def events_of(sent: bytes, method: str = "POST") -> list[Any]:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/x", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(sent)
    events: list[Any] = []
    while not events or not isinstance(events[-1], h11.EndOfMessage):
        event = client.next_event()
        assert not isinstance(event, type(h11.NEED_DATA)), events
        events.append(event)
    assert client.trailing_data == (b"", False)
    return events


def data_of(events: list[Any]) -> bytes:
    return b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data))


def test_an_interim_answer_leaves_at_once() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(HINTS)
        await may_answer.wait()
        await answering(start(False), body(b"hi"))(scope, receive, send)

    may_answer = asyncio.Event()

    async def work(client: Served) -> None:
        client.protocol.app = app
        await client.send(REQUEST)
        assert client.transport.sent == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
        may_answer.set()
        await client.send(b"")
        interim, answer, *rest = events_of(client.transport.sent)
        assert (interim.status_code, interim.headers.raw_items()) == (103, [(b"link", b"</a>")])
        assert (answer.status_code, data_of(rest)) == (200, b"hi")

    served(work)


@pytest.mark.parametrize(
    "message",
    [
        {**HINTS, "status": 101},
        {**HINTS, "status": 200},
        {**HINTS, "status": 99},
        {**HINTS, "headers": [(b"link", b"a\r\nx: b")]},
        {**HINTS, "headers": [(b"bad name", b"a")]},
    ],
)
def test_what_is_no_interim_answer_is_not_sent(message: Message) -> None:
    async def work(client: Served) -> None:
        client.protocol.app = answering(message)
        await client.send(REQUEST)
        assert client.status == 500 and client.transport.sent.startswith(b"HTTP/1.1 500 ")

    served(work)


def test_who_has_said_continue_does_not_say_it_again() -> None:
    async def work(client: Served) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": INTERIM, "status": 100})
            await client.app(scope, receive, send)

        client.protocol.app = app
        await client.send(HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert client.transport.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"12")
        assert client.transport.sent.count(b" 100 ") == 1 and b" 200 " in client.transport.sent

    served(work)


@pytest.mark.parametrize(
    "messages",
    [
        [start(), body(b"hi"), END],
        [start(), body(b"h", more=True), body(b"i", more=True), body(b""), END],
        [start(), body(b"h", more=True), body(b"i"), {**END, "more_trailers": True}, {"type": TRAILERS}],
    ],
    ids=["one piece", "pieces", "trailers in pieces"],
)
def test_trailers_come_after_the_body(messages: list[Message]) -> None:
    async def work(client: Served) -> None:
        client.protocol.app = answering(*messages)
        await client.send(REQUEST)
        first = client.transport.sent
        await client.send(REQUEST)
        assert client.transport.sent == first * 2 and not client.transport.is_closed
        answer, *rest = events_of(first)
        assert answer.status_code == 200 and data_of(rest) == b"hi"
        assert rest[-1].headers.raw_items() == [CHECKSUM]

    served(work)


@pytest.mark.parametrize(
    ("request_data", "begin", "data"),
    [
        (REQUEST, start(headers=[(b"content-length", b"2")]), b"hi"),
        (REQUEST, start(status=204), b""),
        (REQUEST.replace(b"POST", b"HEAD"), start(), b""),
    ],
    ids=["a length", "no body", "HEAD"],
)
def test_an_answer_that_is_not_in_chunks_ends_without_them(request_data: bytes, begin: Message, data: bytes) -> None:
    async def work(client: Served) -> None:
        client.protocol.app = answering(begin, body(data), END)
        await client.send(request_data)
        assert b"x-checksum" not in client.transport.sent and not client.transport.is_closed
        method = request_data.partition(b" ")[0].decode()
        events = events_of(client.transport.sent, method)
        assert data_of(events) == data and not events[-1].headers.raw_items()
        before = client.transport.sent
        await client.send(request_data)
        assert client.transport.sent == before * 2

    served(work)


def test_an_answer_whose_trailers_do_not_come_is_not_whole() -> None:
    async def work(client: Served) -> None:
        client.protocol.app = answering(start(), body(b"hi"))
        await client.send(REQUEST)
        assert client.transport.sent.endswith(b"2\r\nhi\r\n") and client.transport.is_closed

    served(work)


def test_a_trailer_cannot_smuggle_a_second_one() -> None:
    async def work(client: Served) -> None:
        client.protocol.app = answering(start(), body(b"hi"), {**END, "headers": [(b"x", b"a\r\nset-cookie: b")]})
        await client.send(REQUEST)
        assert b"set-cookie" not in client.transport.sent and client.transport.is_closed

    served(work)


@pytest.mark.parametrize(("version", "extensions"), [(b"1.1", EXTENSIONS), (b"1.0", None)])
def test_only_http_1_1_is_offered_either(version: bytes, extensions: object) -> None:
    async def work(client: Served) -> None:
        await client.send(REQUEST.replace(b"HTTP/1.1", b"HTTP/" + version))
        assert client.requests[0][0].get("extensions") == extensions

    served(work)


def test_a_body_without_length_has_no_chunks_for_http_1_0_and_ends_with_the_connection() -> None:
    async def work(client: Served) -> None:
        client.protocol.app = answering(start(False), body(b"h", more=True), body(b"", more=True), body(b"i"))
        await client.send(REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"))
        head, _, data = client.transport.sent.partition(b"\r\n\r\n")
        assert data == b"hi" and client.transport.is_closed
        assert b"transfer-encoding" not in head and b"connection: close" in head

    served(work)


NAMES = st.from_regex(rb"x-[a-z0-9]{1,10}", fullmatch=True)
VALUES = st.from_regex(rb"[!-~]([ !-~]{0,20}[!-~])?", fullmatch=True)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=4)


@given(
    interim=st.lists(st.tuples(st.sampled_from([100, 102, 103, 199]), FIELDS), max_size=3),
    headers=FIELDS,
    pieces=st.lists(st.binary(max_size=50), max_size=4),
    trailers=FIELDS,
)
def test_h11_reads_whatever_an_application_says(
    interim: list[tuple[int, RawHeaders]], headers: RawHeaders, pieces: list[bytes], trailers: RawHeaders
) -> None:
    async def work(client: Served) -> None:
        client.protocol.app = answering(
            *({"type": INTERIM, "status": status, "headers": fields} for status, fields in interim),
            start(headers=headers),
            *(body(piece, more=True) for piece in pieces),
            body(b""),
            {"type": TRAILERS, "headers": trailers},
        )
        await client.send(REQUEST)
        events = events_of(client.transport.sent)
        told = [(each.status_code, each.headers.raw_items()) for each in events[: len(interim)]]
        assert told == interim
        assert [header for header in events[len(interim)].headers.raw_items() if header[0].startswith(b"x-")] == headers
        assert data_of(events) == b"".join(pieces)
        assert events[-1].headers.raw_items() == trailers

    served(work)
