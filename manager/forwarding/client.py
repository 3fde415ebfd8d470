"""The client of a forwarded request, as ASGI shows it: its body first, and then whether it is still there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from http import HTTPStatus
from types import TracebackType

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from agent_service.http.body import too_large
from agent_service.http.client.answer import RawHeaders
from agent_service.http.disconnect import disconnected
from agent_service.http.extensions import INTERIM, TRAILERS
from manager.forwarding.alarms import Alarm, Alarms
from manager.forwarding.headers import towards_client
from manager.forwarding.trailers import asks_for_trailers

# A body of a declared length up to this is read as a whole before an instance is chosen: a slow client holds no slot,
# and the request can be sent again where that is safe. Larger ones, and those of unknown length, pass as they come.
GATHERED_BYTES = 1024 * 1024
# Until then nobody looks whether the client is still there: most answers come sooner, and a look costs a task.
PATIENCE_SECONDS = 0.02


class Client:
    """Reads one request, then stands for its client's presence as an asynchronous context manager.

    Raises `BodyTooLarge` once more than `max_bytes` are known of, `ClientDisconnect` while reading.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_bytes: int, alarms: Alarms) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        headers = scope["headers"]
        named = dict(headers)
        length = named.get(b"content-length")
        self._length = None if length is None else int(length)
        self._upload: asyncio.Event | None = None
        self._task: asyncio.Task[object] | None = None
        self._alarms = alarms
        self._watch: Alarm | asyncio.Task[None]
        self._is_gone = False
        self.asks_first = b"expect" in named and named[b"expect"].lower() == b"100-continue"
        self.takes_trailers = b"te" in named and asks_for_trailers(headers) and self._is_offered(TRAILERS)
        if self._length is not None and self._length > max_bytes:
            raise too_large(max_bytes)

    async def body(self) -> bytes | AsyncGenerator[bytes, None]:
        """The body, whole where that suits, else a generator of its pieces; none is empty."""
        # Reading makes the server say 100: with `Expect` not before the adapter has.
        if self.asks_first or (self._length or 0) > GATHERED_BYTES:
            return self._in_pieces(b"")
        piece, is_last = await self._next()
        if is_last:
            return self._within_limit(piece)
        if self._length is None:
            return self._in_pieces(piece)
        whole = bytearray(piece)
        while not is_last:
            piece, is_last = await self._next()
            whole += piece
        return self._within_limit(bytes(whole))

    async def tell_interim(self, status: int, headers: RawHeaders) -> None:
        """Pass an interim answer of the adapter on, as far as this client can be told such.

        Who asked before sending the body hears of it from our own server, when the body is read.
        """
        if self._is_offered(INTERIM) and not (status == HTTPStatus.CONTINUE and self.asks_first):
            await self._send({"type": INTERIM, "status": status, "headers": towards_client(headers)})

    async def __aenter__(self) -> None:
        """Inside, the request is being answered; the block is left, silently, as soon as the client is gone."""
        self._task = asyncio.current_task(self._alarms.loop)
        self._watch = self._alarms.set(PATIENCE_SECONDS, self._begin_watch)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._watch.cancel()
        # As asyncio.timeout does: the cancellation that was ours ends here, another's goes on.
        return self._is_gone and kind is asyncio.CancelledError and self._task is not None and not self._task.uncancel()

    def _begin_watch(self) -> None:
        self._watch = asyncio.create_task(self._until_gone(), name="client of a forwarded request")

    async def _until_gone(self) -> None:
        if self._upload is not None:
            await self._upload.wait()
        await disconnected(self._receive)
        if self._task is not None:
            self._is_gone = True
            self._task.cancel()

    def _in_pieces(self, first: bytes) -> AsyncGenerator[bytes, None]:
        self._upload = asyncio.Event()
        return self._pieces(first, self._upload)

    async def _pieces(self, first: bytes, upload: asyncio.Event) -> AsyncGenerator[bytes, None]:
        piece, is_last, total = first, False, 0
        try:
            while True:
                total += len(piece)
                if total > self._max_bytes:
                    raise too_large(self._max_bytes)
                if piece:
                    yield piece
                if is_last:
                    return
                piece, is_last = await self._next()
        finally:
            upload.set()

    def _is_offered(self, extension: str) -> bool:
        return extension in self._scope.get("extensions", ())

    def _within_limit(self, body: bytes) -> bytes:
        if len(body) > self._max_bytes:
            raise too_large(self._max_bytes)
        return body

    async def _next(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return message.get("body", b""), not message.get("more_body", False)
