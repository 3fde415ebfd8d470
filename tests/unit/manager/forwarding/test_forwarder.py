from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agent_service.http.client.answer import RawHeaders
from manager.errors import AdapterTimeout
from manager.forwarding.forwarder import ForwardedAnswer
from manager.forwarding.request import ForwardRequest
from tests.unit.manager.fakes.adapters import registration
from tests.unit.manager.forwarding.played_adapter import (
    OPEN,
    REQUEST,
    Forwarding,
    PlayedConnection,
    Response,
    answers,
    play,
)


@pytest.mark.parametrize("status", [200, 400, 409, 413, 429, 500, 503, 418, 302])
def test_status_headers_and_body_come_back_as_they_are(status: int) -> None:
    async def scenario() -> None:
        got_status, headers, body = await forwarding.whole()
        assert got_status == status
        assert (b"retry-after", b"7") in headers
        assert (b"content-type", b"application/problem+json") in headers
        assert not [name for name, _ in headers if name in (b"server", b"date")]
        assert body == b"\x00whatever\xff"

    said: RawHeaders = [(b"retry-after", b"7"), (b"content-type", b"application/problem+json"), (b"server", b"theirs")]
    forwarding = Forwarding(answers(status, b"\x00what", b"ever\xff", headers=said))
    forwarding.run(scenario())


def test_the_request_goes_to_execute_with_its_body_its_trace_and_the_token() -> None:
    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, headers=[*REQUEST.headers, (b"traceparent", b"00-old")]))
        (request,) = forwarding.requests
        assert request.head.startswith(b"POST /execute HTTP/1.1\r\n")
        assert request.head.endswith(b"\r\n\r\n")
        assert request.body == REQUEST.body
        assert request.values("content-length") == [str(len(REQUEST.body))]
        assert request.values("host") == ["127.0.0.1:8100"]
        assert request.values("x-manager-token") == ["secret"]
        assert request.values("x-request-id") == ["r-1"]
        assert request.values("traceparent") == ["00-new"]

    forwarding = Forwarding(answers())
    forwarding.run(scenario())


@pytest.mark.parametrize("name", ["accept-encoding", "accept", "user-agent"])
def test_the_adapter_is_asked_for_nothing_that_the_client_did_not_ask_for(name: str) -> None:
    """An adapter that compresses would else send the client a coding that it never said it reads."""

    async def scenario() -> None:
        await forwarding.whole()
        assert forwarding.requests[0].values(name) == []

    forwarding = Forwarding(answers())
    forwarding.run(scenario())


def test_what_the_client_accepts_reaches_the_adapter_and_its_coding_comes_back_untouched() -> None:
    async def scenario() -> None:
        _, headers, body = await forwarding.whole(replace(REQUEST, headers=[(b"accept-encoding", b"gzip")]))
        assert forwarding.requests[0].values("accept-encoding") == ["gzip"]
        assert (b"content-encoding", b"gzip") in headers
        assert body == b"\x1f\x8bnot really"

    forwarding = Forwarding(answers(200, b"\x1f\x8bnot really", headers=[(b"content-encoding", b"gzip")]))
    forwarding.run(scenario())


def test_chunks_pass_one_by_one_while_the_adapter_still_works() -> None:
    async def adapter(connection: PlayedConnection) -> None:
        play(connection, Response(chunks=(b"first",), hold=True))
        await asyncio.sleep(1)
        connection.answer.take_chunk(b"second")
        await asyncio.Event().wait()

    async def scenario() -> None:
        async with forwarding.forwarder.forward(REQUEST) as answer:
            assert await anext(answer.chunks) == b"first"
            assert await anext(answer.chunks) == b"second"
            assert forwarding.instance.forwarding == 1
        assert forwarding.requests[0].is_finished
        assert forwarding.pool.kept == []

    forwarding = Forwarding(adapter)
    forwarding.run(scenario())


def test_many_requests_at_once_are_counted_and_spread_over_the_instances() -> None:
    async def slowly(connection: PlayedConnection) -> None:
        await asyncio.sleep(1)
        play(connection, Response())

    async def scenario() -> None:
        forwarding.registry.register(registration("i-2", port=8101))
        forwarded = [asyncio.create_task(forwarding.whole()) for _ in range(50)]
        await asyncio.sleep(0.5)
        assert [instance.forwarding for instance in forwarding.registry.of("echo")] == [25, 25]
        await asyncio.gather(*forwarded)
        assert [instance.forwarding for instance in forwarding.registry.of("echo")] == [0, 0]

    forwarding = Forwarding(slowly)
    forwarding.run(scenario())


def test_an_instance_that_registers_again_during_a_request_is_not_left_counting_it() -> None:
    async def scenario() -> None:
        async with forwarding.forwarder.forward(REQUEST) as answer:
            assert isinstance(answer, ForwardedAnswer)
            forwarding.registry.register(registration())
            assert forwarding.instance.forwarding == 1
        assert forwarding.instance.forwarding == 0

    forwarding = Forwarding(answers(200, b"x"))
    forwarding.run(scenario())


def test_who_chose_is_told_before_a_byte_goes_out() -> None:
    async def chosen(instance_id: str) -> None:
        assert forwarding.requests == []
        told.append(instance_id)

    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, chosen=chosen))
        assert told == ["i-1"]

    told: list[str] = []
    forwarding = Forwarding(answers())
    forwarding.run(scenario())


def test_the_times_of_a_request_are_noted() -> None:
    async def slowly(connection: PlayedConnection) -> None:
        await asyncio.sleep(2)
        play(connection, Response())

    async def scenario() -> None:
        await forwarding.whole(request)
        assert request.timing.queued == 0
        assert request.timing.connected == 0
        assert request.timing.agent == pytest.approx(2, abs=0.1)

    request = ForwardRequest("echo", [], [], b"{}")
    forwarding = Forwarding(slowly)
    forwarding.run(scenario())


def test_interim_answers_are_told_at_once_and_are_no_answer() -> None:
    async def adapter(connection: PlayedConnection) -> None:
        connection.answer.take_interim(103, [(b"link", b"</a>")])
        await asyncio.sleep(1)
        assert told == [(103, [(b"link", b"</a>")])]
        connection.answer.take_interim(199, [])
        play(connection, Response())

    async def tell(status: int, headers: RawHeaders) -> None:
        told.append((status, headers))

    async def scenario() -> None:
        assert (await forwarding.whole(replace(REQUEST, tell_interim=tell)))[:2] == (200, [])
        assert told == [(103, [(b"link", b"</a>")]), (199, [])]

    told: list[tuple[int, RawHeaders]] = []
    forwarding = Forwarding(adapter)
    forwarding.run(scenario())


def test_interim_answers_buy_no_time() -> None:
    async def adapter(connection: PlayedConnection) -> None:
        while True:
            connection.answer.take_interim(102, [])
            await asyncio.sleep(1)

    async def tell(status: int, headers: RawHeaders) -> None:
        told.append(status)

    async def scenario() -> None:
        with pytest.raises(AdapterTimeout):
            await forwarding.whole(replace(REQUEST, tell_interim=tell))
        assert len(told) == pytest.approx(OPEN.policy.execute_timeout_seconds, abs=1)

    told: list[int] = []
    forwarding = Forwarding(adapter)
    forwarding.run(scenario())


IN_CHUNKS: RawHeaders = [(b"transfer-encoding", b"chunked"), (b"trailer", b"X-Checksum, Content-Length")]


@pytest.mark.parametrize("takes_trailers", [True, False])
def test_trailers_are_asked_for_and_passed_on_where_the_client_takes_them(takes_trailers: bool) -> None:
    async def adapter(connection: PlayedConnection) -> None:
        for name in (b"x-checksum", b"content-length", b"set-cookie"):
            connection.answer.take_trailer(name, b"1")
        play(connection, Response(headers=IN_CHUNKS, chunks=(b"hi",)))

    async def scenario() -> None:
        async with forwarding.forwarder.forward(replace(REQUEST, takes_trailers=takes_trailers)) as answer:
            assert b"".join([chunk async for chunk in answer.chunks]) == b"hi"
        (request,) = forwarding.requests
        assert request.values("te") == (["trailers"] if takes_trailers else [])
        assert request.values("connection") == (["te"] if takes_trailers else [])
        assert answer.headers == ([(b"trailer", b"x-checksum")] if takes_trailers else [])
        if takes_trailers:
            assert answer.trailers is not None and answer.trailers() == [(b"x-checksum", b"1")]
        else:
            assert answer.trailers is None

    forwarding = Forwarding(adapter)
    forwarding.run(scenario())


def test_an_answer_of_a_known_length_has_no_trailers() -> None:
    async def scenario() -> None:
        async with forwarding.forwarder.forward(replace(REQUEST, takes_trailers=True)) as answer:
            assert (answer.headers, answer.trailers) == ([(b"content-length", b"2")], None)

    said: RawHeaders = [(b"content-length", b"2"), (b"trailer", b"X-Checksum")]
    forwarding = Forwarding(answers(200, b"hi", headers=said))
    forwarding.run(scenario())
