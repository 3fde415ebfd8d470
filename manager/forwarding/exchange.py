"""One request on one connection: its body goes out while its answer comes in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from agent_service.http.client.answer import Answer, RawHeaders
from agent_service.http.client.connection import Connection
from manager.forwarding.request import END_OF_CHUNKS, ForwardRequest, chunk

# How long the adapter may keep its opinion on `Expect: 100-continue` to itself before the body is sent all the same.
EXPECT_SECONDS = 1.0


class Exchange:
    """Begun when it is made. `answer` fails with whatever the request's own body fails with."""

    def __init__(self, connection: Connection, request: ForwardRequest, host: bytes, token_headers: RawHeaders) -> None:
        self.connection = connection
        self._request = request
        self._upload: asyncio.Task[None] | None = None
        head = request.head(host, token_headers)
        if isinstance(request.body, bytes):
            body = chunk(request.body) + END_OF_CHUNKS if request.is_chunked else request.body
            self.answer = connection.begin(head, body)
        else:
            self.answer = connection.begin(head, None)
            self._upload = asyncio.create_task(self._send(request.body), name=f"upload to {request.agent_id}")

    def stop_sending(self) -> None:
        """Whatever has not been sent of the body stays unsent, and the connection cannot be used again."""
        if self._upload is not None:
            self._upload.cancel()

    async def _send(self, body: AsyncGenerator[bytes, None]) -> None:
        try:
            async with aclosing(body):
                if await self._is_wanted(self.answer):
                    await self._send_all(body)
        except Exception as error:  # noqa: BLE001 - the body is the caller's, and so is its error: the answer's reader gets it
            self.answer.fail(error)

    async def _is_wanted(self, answer: Answer) -> bool:
        if self._request.asks_first:
            try:
                async with asyncio.timeout(EXPECT_SECONDS):
                    await answer.verdict()
            except TimeoutError:
                return True
        return not answer.has_head

    async def _send_all(self, body: AsyncGenerator[bytes, None]) -> None:
        is_chunked = self._request.is_chunked
        async for piece in body:
            if not self.connection.takes_more:
                return
            await self.connection.send(chunk(piece) if is_chunked else piece)
        if is_chunked:
            await self.connection.send(END_OF_CHUNKS)
        self.connection.end_body()
