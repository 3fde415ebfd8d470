"""The client's protocol, fed by hand. h11, which is strict, writes the answers and reads the requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_service.http.client.answer import HIGH_WATER, BrokenExchange, RawHeaders
from agent_service.http.client.connection import MAX_FRAMING_BYTES, MAX_HEAD_BYTES, MAX_INTERIM_ANSWERS, Connection
from manager.forwarding.headers import towards_client
from manager.forwarding.request import END_OF_CHUNKS, ForwardRequest, chunk
from tests.unit.manager.fakes.clock import run

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"Content-Length: 2\r\n\r\nhi"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Transport:
    """What a connection asks of its transport."""

    def __init__(self) -> None:
        self.written = b""
        self.is_aborted = False
        self.is_paused = False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_aborted

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def get_extra_info(self, name: str) -> None:
        return None


class Fed:
    """A connection in the middle of an exchange."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.connection = Connection()
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]
        self.answer = self.connection.begin(b"POST / HTTP/1.1\r\n\r\n", b"")
        self.interim: list[tuple[int, RawHeaders]] = []

    def feed(self, *pieces: bytes) -> Fed:
        for piece in pieces:
            if not self.transport.is_aborted:
                self.connection.data_received(piece)
        return self

    def close(self, error: Exception | None = None) -> Fed:
        self.connection.connection_lost(error)
        return self

    async def tell(self, status: int, headers: RawHeaders) -> None:
        self.interim.append((status, headers))

    async def read(self) -> tuple[int, RawHeaders, bytes]:
        await self.answer.until_head(self.tell)
        return self.answer.status, self.answer.headers, b"".join([piece async for piece in self.answer])


def fed(scenario: Callable[[Fed], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        await scenario(Fed())

    run(whole())


MALFORMED = {
    "no HTTP": b"garbage\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "a status above 599": b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2 on HTTP/1's wire": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "length and coding": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "coding and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    "a negative length": OK + b"Content-Length: -2\r\n\r\nhi",
    "a length that overflows": OK + b"Content-Length: 99999999999999999999999\r\n\r\nhi",
    "a coding that nobody asked for": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding without an end": OK + b"Transfer-Encoding: gzip\r\n\r\nx",
    "a chunk whose size is no number": CHUNKED + b"zz\r\nhi\r\n0\r\n\r\n",
    "a chunk that is longer than it says": CHUNKED + b"1\r\nhi\r\n0\r\n\r\n",
    "a folded header": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a space in a header's name": OK + b"X Y: a\r\nContent-Length: 0\r\n\r\n",
    "a NUL in a header": OK + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "a control character in a header": OK + b"X: a\x1bb\r\nContent-Length: 0\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "a switch of protocols": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "a header that is too long": OK + b"X: " + b"a" * MAX_HEAD_BYTES + b"\r\nY: b\r\n\r\n",
    "too many headers": OK + b"X: a\r\n" * MAX_HEAD_BYTES,
    "a head without end": b"HTTP/1.1 200 " + b"O" * (MAX_FRAMING_BYTES + 1),
    "interim answers without end": b"HTTP/1.1 102 \r\n\r\n" * (MAX_INTERIM_ANSWERS + 1),
    "long interim answers": (b"HTTP/1.1 102 \r\nX: " + b"a" * 1000 + b"\r\n\r\n") * (MAX_HEAD_BYTES // 1000 + 1),
    "a control character in an interim answer": b"HTTP/1.1 103 \r\nLink: a\x1bb\r\n\r\n",
    "an interim answer with a length": b"HTTP/1.1 199 What\r\nContent-Length: 2\r\n\r\nhi" + WHOLE,
    "an interim answer in chunks": b"HTTP/1.1 199 What\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + WHOLE,
    "a control character in a trailer": CHUNKED + b"0\r\nX: a\x1bb\r\n\r\n",
    "trailers without end": CHUNKED + b"0\r\n" + b"X: a\r\n" * MAX_HEAD_BYTES,
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("step", [1, 1000, 10_000_000])
def test_an_answer_against_the_rules_breaks_the_exchange_and_the_connection(data: bytes, step: int) -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(*(data[start : start + step] for start in range(0, len(data), step)))
        with pytest.raises(BrokenExchange, match="is no HTTP") as broken:
            await fed.read()
        assert not broken.value.untouched
        assert fed.transport.is_aborted
        assert not fed.connection.finish()

    if step > 1 or len(data) < 1000:
        fed(scenario)


@pytest.mark.parametrize("split", range(1, len(WHOLE)))
def test_an_answer_may_come_in_any_two_pieces(split: int) -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(WHOLE[:split], WHOLE[split:])
        assert await fed.read() == (200, [(b"content-length", b"2")], b"hi")
        assert fed.connection.finish()

    fed(scenario)


@pytest.mark.parametrize("end", range(len(WHOLE)))
def test_an_answer_that_breaks_off_anywhere_is_never_taken_for_whole(end: int) -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(WHOLE[:end]).close()
        with pytest.raises(BrokenExchange, match="closed the connection"):
            await fed.read()

    fed(scenario)


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
def test_a_body_without_length_ends_with_an_orderly_end_of_the_connection_only(error: Exception | None) -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(OK + b"\r\n", b"all of ", b"it").close(error)
        if error is None:
            assert (await fed.read())[2] == b"all of it"
        else:
            with pytest.raises(BrokenExchange, match="reset"):
                await fed.read()
        assert not fed.connection.finish()

    fed(scenario)


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_body_ends_with_its_head(status: int) -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(b"HTTP/1.1 %d X\r\nContent-Length: 3\r\nETag: x\r\n\r\n" % status)
        got, headers, body = await fed.read()
        assert (got, towards_client(headers, got), body) == (status, [(b"etag", b"x")], b"")
        assert fed.connection.finish()

    fed(scenario)


EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"


def test_interim_answers_come_before_the_answer_and_leave_nothing_in_it() -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(EARLY_HINTS)
        assert not fed.answer.has_verdict
        fed.feed(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert fed.answer.has_verdict
        fed.feed(b"HTTP/1.1 199 What\r\n\r\n" + WHOLE)
        assert await fed.read() == (200, [(b"content-length", b"2")], b"hi")
        told = [(103, [(b"link", b"</style.css>")]), (100, []), (199, [])]
        assert fed.interim == told
        assert fed.connection.finish()

    fed(scenario)


def test_an_interim_answer_is_told_before_anything_else_has_come() -> None:
    async def scenario(fed: Fed) -> None:
        reading = asyncio.create_task(fed.read())
        await asyncio.sleep(1)
        fed.feed(EARLY_HINTS)
        await asyncio.sleep(1)
        assert fed.interim == [(103, [(b"link", b"</style.css>")])] and not reading.done()
        fed.feed(WHOLE)
        assert (await reading)[0] == 200

    fed(scenario)


def test_interim_answers_that_came_before_a_break_are_told_first() -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(EARLY_HINTS).close()
        with pytest.raises(BrokenExchange, match="before it answered"):
            await fed.read()
        assert [status for status, _ in fed.interim] == [103]

    fed(scenario)


def test_who_wants_no_interim_answers_waits_for_the_head_alone() -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(EARLY_HINTS, WHOLE)
        await fed.answer.until_head()
        assert fed.answer.status == 200

    fed(scenario)


def test_trailers_are_no_headers() -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(CHUNKED + b"2;note=x\r\nhi\r\n0\r\nX-Checksum: 1\r\n\r\n")
        assert await fed.read() == (200, [(b"transfer-encoding", b"chunked")], b"hi")
        assert fed.answer.trailers == [(b"x-checksum", b"1")]
        assert fed.connection.finish()
        answer = fed.connection.begin(b"GET / HTTP/1.1\r\n\r\n", b"")
        fed.feed(WHOLE)
        await answer.until_head()
        assert (answer.headers, answer.trailers) == ([(b"content-length", b"2")], [])

    fed(scenario)


def test_a_body_is_not_whole_before_its_trailers_are() -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(CHUNKED + b"2\r\nhi\r\n0\r\nX-Checksum: 1\r\n").close()
        with pytest.raises(BrokenExchange, match="in the middle of its answer"):
            await fed.read()

    fed(scenario)


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    ],
)
def test_a_connection_that_is_to_end_is_not_kept(data: bytes) -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(data)
        assert (await fed.read())[2] == b"hi"
        assert not fed.connection.finish()
        assert fed.transport.is_aborted

    fed(scenario)


def test_data_after_the_end_of_an_answer_ends_the_connection() -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(WHOLE + WHOLE)
        assert (await fed.read())[2] == b"hi"
        assert not fed.connection.finish()

    fed(scenario)


def test_data_that_nobody_asked_for_ends_the_connection() -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(WHOLE)
        assert fed.connection.finish()
        fed.feed(WHOLE)
        assert fed.transport.is_aborted

    fed(scenario)


def test_a_connection_whose_request_has_not_been_sent_as_a_whole_is_not_kept() -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(WHOLE)
        assert fed.connection.finish()
        fed.connection.begin(b"head", None)
        fed.feed(WHOLE)
        assert not fed.connection.finish()

    fed(scenario)


def test_a_slow_reader_stops_the_adapter_and_a_reader_starts_it_again() -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(OK + b"\r\n", b"x" * HIGH_WATER)
        assert not fed.transport.is_paused
        fed.feed(b"x")
        assert fed.transport.is_paused
        assert len(await anext(fed.answer)) == HIGH_WATER + 1
        assert not fed.transport.is_paused

    fed(scenario)


def test_a_slow_adapter_stops_the_sender() -> None:
    async def scenario(fed: Fed) -> None:
        fed.connection.pause_writing()
        sending = asyncio.create_task(fed.connection.send(b"piece"))
        await asyncio.sleep(1)
        assert not sending.done()
        fed.connection.resume_writing()
        await sending
        assert fed.transport.written.endswith(b"piece")

    fed(scenario)


def test_a_sender_does_not_wait_for_an_adapter_that_has_gone() -> None:
    async def scenario(fed: Fed) -> None:
        fed.connection.pause_writing()
        sending = asyncio.create_task(fed.connection.send(b"piece"))
        await asyncio.sleep(1)
        fed.close()
        await sending
        assert fed.answer.has_verdict

    fed(scenario)


NAMES = st.from_regex(rb"x-[a-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True)
# Visible ASCII and what else RFC 9110 allows; white space at the ends is no part of a value.
VALUES = st.binary(max_size=30).map(lambda raw: bytes(b for b in raw if b in b"\t " or 0x21 <= b != 0x7F).strip())
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
BODIES = st.lists(st.binary(min_size=1, max_size=200), max_size=6)


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *marks], [*marks, len(data)], strict=True)]


@given(
    headers=HEADERS,
    body=BODIES,
    interim=st.lists(st.tuples(st.sampled_from([100, 102, 103, 199]), HEADERS), max_size=3),
    trailers=HEADERS,
    is_chunked=st.booleans(),
    places=st.lists(st.integers(0, 10_000), max_size=10),
)
def test_whatever_h11_writes_is_read_however_it_is_cut(
    headers: RawHeaders,
    body: list[bytes],
    interim: list[tuple[int, RawHeaders]],
    trailers: RawHeaders,
    is_chunked: bool,
    places: list[int],
) -> None:
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    while not isinstance(server.next_event(), h11.EndOfMessage):
        pass
    framing = (b"transfer-encoding", b"chunked") if is_chunked else (b"content-length", b"%d" % len(b"".join(body)))
    trailers = trailers if is_chunked else []
    events = [
        *(h11.InformationalResponse(status_code=status, headers=said) for status, said in interim),
        h11.Response(status_code=200, headers=[*headers, framing]),
        *map(h11.Data, body),
        h11.EndOfMessage(headers=trailers),
    ]
    data = b"".join(server.send(event) or b"" for event in events)

    async def scenario(fed: Fed) -> None:
        fed.feed(*cut(data, places))
        status, got, whole = await fed.read()
        assert (status, whole) == (200, b"".join(body))
        assert got == [*headers, framing]
        assert (fed.interim, fed.answer.trailers) == (interim, trailers)
        assert fed.connection.finish()

    fed(scenario)


@given(headers=HEADERS, body=BODIES, is_chunked=st.booleans())
def test_whatever_is_sent_is_understood_by_h11(headers: RawHeaders, body: list[bytes], is_chunked: bool) -> None:
    whole = b"".join(body)

    async def pieces() -> AsyncIterator[bytes]:
        yield b""

    declared = [(b"transfer-encoding", b"chunked")] if is_chunked else [(b"content-length", b"%d" % len(whole))]
    request = ForwardRequest("echo", [*headers, *declared], [(b"x-request-id", b"1")], pieces())  # type: ignore[arg-type]
    server = h11.Connection(h11.SERVER)
    server.receive_data(request.head(b"127.0.0.1:80", [(b"x-manager-token", b"t")]))
    for piece in body:
        server.receive_data(chunk(piece) if is_chunked else piece)
    if is_chunked:
        server.receive_data(END_OF_CHUNKS)
    got = b""
    head = server.next_event()
    assert isinstance(head, h11.Request)
    while not isinstance(event := server.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        got += bytes(event.data)
    assert got == whole
    assert [(name, value) for name, value in head.headers if name.startswith(b"x-")] == [
        *headers,
        (b"x-request-id", b"1"),
        (b"x-manager-token", b"t"),
    ]


def test_what_came_before_a_break_is_read_first() -> None:
    async def scenario(fed: Fed) -> None:
        fed.feed(OK + b"Content-Length: 4\r\n\r\nhi").close()
        await fed.answer.until_head()
        assert await anext(fed.answer) == b"hi"
        with pytest.raises(BrokenExchange, match="in the middle of its answer"):
            await anext(fed.answer)

    fed(scenario)


def test_a_reader_that_waits_is_told_of_the_break() -> None:
    async def scenario(fed: Fed) -> None:
        reading = asyncio.create_task(fed.read())
        await asyncio.sleep(1)
        fed.close(ConnectionResetError("reset by peer"))
        with pytest.raises(BrokenExchange, match="before it answered: reset by peer"):
            await reading

    fed(scenario)
