from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from agent_service.runtimes.tools import http_answers
from agent_service.runtimes.tools.errors import CallFailed, ServerLost
from agent_service.runtimes.tools.http_answers import AnsweringTransport
from agent_service.runtimes.tools.link import Link, Pending

URL = "http://server/mcp?key=s3cret"
REQUEST = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
ANSWER = b'{"jsonrpc": "2.0", "id": 1, "result": {}}'
EVENTS = {"content-type": "text/event-stream"}


class Chunks(httpx.AsyncByteStream):
    """Some bytes as they come, then the end, of the stream or of the whole connection."""

    def __init__(self, *chunks: bytes, breaks: bool = False) -> None:
        self._chunks = chunks
        self._breaks = breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
        if self._breaks:
            raise httpx.RemoteProtocolError("peer closed connection")


class Post:
    """One POST through the transport: what came back, and what became of its request."""

    def __init__(
        self,
        answer: Callable[[httpx.Request], httpx.Response],
        message: dict[str, Any] = REQUEST,
        *,
        is_stream: bool = False,
        **headers: str,
    ) -> None:
        self.link = Link(lambda: None)
        self.pending: Pending
        asyncio.run(self._send(answer, message, is_stream, {name.replace("_", "-"): headers[name] for name in headers}))

    async def _send(
        self, answer: Callable[[httpx.Request], httpx.Response], message: Any, is_stream: bool, headers: dict[str, str]
    ) -> None:
        transport = AnsweringTransport(httpx.MockTransport(answer), self.link, is_stream=is_stream)
        with self.link.pending(1, lambda: None) as self.pending:
            async with httpx.AsyncClient(transport=transport) as client:
                self.response = await client.post(URL, json=message, headers=headers)

    @property
    def lost(self) -> ServerLost:
        assert isinstance(self.pending.failure, ServerLost), self.pending.failure
        return self.pending.failure


def raising(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error

    return answer


def test_a_good_answer_passes() -> None:
    post = Post(lambda request: httpx.Response(200, json=json.loads(ANSWER)))
    assert (post.response.status_code, post.response.json()["id"], post.pending.failure) == (200, 1, None)
    assert post.pending.begun


@pytest.mark.parametrize(
    ("error", "begun", "reason"),
    [
        (httpx.ConnectError("refused"), False, "it cannot be reached (refused)"),
        (httpx.ReadError("reset"), True, "the connection broke (reset)"),
        (httpx.ReadTimeout(""), True, "the connection broke (ReadTimeout)"),
        (httpx.LocalProtocolError("b's3cret'"), True, "the request cannot be sent; check its headers"),
    ],
)
def test_a_broken_connection_fails_its_request_and_no_other(error: Exception, begun: bool, reason: str) -> None:
    post = Post(raising(error))
    assert (post.response.status_code, str(post.lost), post.lost.begun) == (202, reason, begun)
    assert post.link.lost is None and post.link.is_suspect


@pytest.mark.parametrize(
    ("status", "begun", "reason"),
    [
        (503, False, "it answered 503 Service Unavailable"),
        (429, False, "it answered 429 Too Many Requests"),
        (401, False, "it answered 401 Unauthorized; check its headers"),
        (500, True, "it answered 500 Internal Server Error"),
        (502, True, "it answered 502 Bad Gateway"),
    ],
)
def test_a_refusal_fails_its_request_and_says_whether_it_was_begun(status: int, begun: bool, reason: str) -> None:
    post = Post(lambda request: httpx.Response(status))
    assert (post.response.status_code, str(post.lost), post.lost.begun) == (202, reason, begun)
    assert post.link.lost is None


def test_a_forgotten_session_ends_the_connection_and_its_request_was_not_begun() -> None:
    post = Post(lambda request: httpx.Response(404), mcp_session_id="old")
    assert str(post.link.lost) == "it has forgotten the session"
    assert not post.lost.begun


def test_a_wrong_address_is_no_forgotten_session() -> None:
    post = Post(lambda request: httpx.Response(404))
    assert str(post.lost) == "it answered 404 Not Found; check its url"
    assert post.link.lost is None


@pytest.mark.parametrize(
    "response",
    [
        lambda: httpx.Response(200, html="<html>welcome</html>"),
        lambda: httpx.Response(200, headers={"content-type": "application/json"}, content=b"{half"),
        lambda: httpx.Response(200, headers={"content-type": "application/json"}, content=b"[1]"),
        lambda: httpx.Response(204),
    ],
)
def test_what_is_no_mcp_fails_the_request(response: Callable[[], httpx.Response]) -> None:
    post = Post(lambda request: response())
    assert isinstance(post.pending.failure, CallFailed) and "no MCP" in str(post.pending.failure)


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_an_answer_over_the_limit_fails_the_request(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_answers, "MAX_MESSAGE_BYTES", 100)
    post = Post(lambda request: httpx.Response(200, headers={"content-type": kind}, stream=Chunks(b"x" * 101)))
    assert isinstance(post.pending.failure, CallFailed) and "over the limit of 100" in str(post.pending.failure)


@pytest.mark.parametrize("stream", [Chunks(b"data: half", breaks=True), Chunks(breaks=True)])
def test_a_stream_that_breaks_before_its_answer_fails_the_request(stream: Chunks) -> None:
    post = Post(lambda request: httpx.Response(200, headers=EVENTS, stream=stream))
    assert post.lost.begun and "peer closed" in str(post.lost) and post.link.is_suspect


def test_a_stream_that_ends_without_its_answer_fails_the_request() -> None:
    post = Post(lambda request: httpx.Response(200, headers=EVENTS, stream=Chunks(b": nothing\n\n")))
    assert post.lost.begun and "before its end" in str(post.lost)


def test_a_stream_that_can_be_resumed_is_left_to_the_sdk() -> None:
    post = Post(
        lambda request: httpx.Response(200, headers=EVENTS, stream=Chunks(b"id: 7\n", b"data:\n\n", breaks=True))
    )
    assert post.pending.failure is None


def test_over_sse_a_failed_post_ends_the_connection() -> None:
    post = Post(lambda request: httpx.Response(503), is_stream=True)
    assert str(post.link.lost) == "it answered 503 Service Unavailable"
    assert not post.lost.begun
    assert Post(lambda request: httpx.Response(202), is_stream=True).link.lost is None


def test_a_notification_that_fails_only_raises_doubts() -> None:
    post = Post(raising(httpx.ConnectError("refused")), {"jsonrpc": "2.0", "method": "notifications/cancelled"})
    assert post.response.status_code == 202 and post.pending.failure is None and post.link.is_suspect


def test_a_redirect_is_the_sdks_to_follow() -> None:
    post = Post(lambda request: httpx.Response(307, headers={"location": "/mcp/"}))
    assert post.response.status_code == 307 and post.pending.failure is None


@pytest.mark.parametrize(("is_stream", "lost"), [(True, "it closed its stream of events"), (False, None)])
def test_the_end_of_the_stream_of_events_is_noticed(is_stream: bool, lost: str | None) -> None:
    link = Link(lambda: None)

    async def scenario() -> None:
        inner = httpx.MockTransport(lambda request: httpx.Response(200, headers=EVENTS, stream=Chunks(b": hello\n\n")))
        transport = AnsweringTransport(inner, link, is_stream=is_stream)
        async with httpx.AsyncClient(transport=transport) as client:
            await client.get(URL)

    asyncio.run(scenario())
    assert (None if link.lost is None else str(link.lost)) == lost
    assert link.is_suspect is not is_stream


def test_a_dead_server_is_not_asked_to_end_its_session() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        raise httpx.ConnectError("refused")

    async def scenario() -> None:
        link = Link(lambda: None)
        async with httpx.AsyncClient(
            transport=AnsweringTransport(httpx.MockTransport(answer), link, is_stream=False)
        ) as client:
            assert (await client.delete(URL)).status_code == 204
            link.lose("it died")
            assert (await client.delete(URL)).status_code == 204

    asyncio.run(scenario())
    assert asked == ["DELETE"]


@pytest.mark.parametrize(
    ("meta", "header"),
    [({"traceparent": "00-1-2-01", "tracestate": "a=1"}, "00-1-2-01"), ({"traceparent": 7}, None), (None, None)],
)
def test_the_trace_that_a_message_belongs_to_is_in_the_headers_too(meta: object, header: str | None) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, headers={"content-type": "application/json"}, content=ANSWER)

    Post(answer, {**REQUEST, "params": {"_meta": meta}})
    assert seen[0].headers.get("traceparent") == header
    assert ("tracestate" in seen[0].headers) == (header is not None)
