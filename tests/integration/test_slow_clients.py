"""Acceptance: who begins a request and does not go on is parted with; who is merely slow is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Receive, Scope, Send

from agent_service.http import read_limits
from agent_service.http.server import HttpServer
from agent_service.http.sockets import listen

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
UPLOAD = HEAD + b"Content-Length: 16\r\n\r\n"
# Far longer than it may take: the machine may be busy.
DEADLINE_SECONDS = 55.0

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def talk(conversation: Conversation) -> None:
    async def scenario() -> None:
        listener = listen("127.0.0.1", 0)
        async with HttpServer(echo).serving(listener), asyncio.timeout(DEADLINE_SECONDS):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            try:
                await conversation(reader, writer)
            finally:
                writer.close()

    asyncio.run(scenario())


@pytest.mark.full
@pytest.mark.parametrize("half", [HEAD, UPLOAD, UPLOAD + b"some of it"], ids=["head", "no body", "half a body"])
def test_a_half_sent_request_is_refused_and_its_connection_closed(half: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(half)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ") and b"application/problem+json" in answer

    monkeypatch.setattr(read_limits, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(read_limits, "BODY_SECONDS", 0.5)
    talk(conversation)


@pytest.mark.full
def test_an_upload_at_a_slow_and_steady_pace_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPLOAD)
        # In all longer than a body may stay out.
        for _ in range(16):
            writer.write(b"x")
            await asyncio.sleep(1)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(16) == b"x" * 16

    monkeypatch.setattr(read_limits, "BODY_SECONDS", 10.0)
    monkeypatch.setattr(read_limits, "BODY_BYTES_PER_SECOND", 0.5)
    talk(conversation)
