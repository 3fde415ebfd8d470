"""An HTTP client that costs little: it shares two cores with what it measures."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple, cast

import httptools

from scripts.benchmarks.options import CannotMeasure

HOST = "127.0.0.1"


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)


class Connection(asyncio.Protocol):
    """One kept HTTP/1.1 connection, for one request at a time. Raises `ConnectionError` where it breaks."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._body: list[bytes] = []

    async def request(self, method: str, target: str, value: object = None) -> Answer:
        """The answer to a request; `value` goes as JSON."""
        assert self._transport is not None
        body = b"" if value is None else json.dumps(value).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        if self._transport.is_closing():
            raise ConnectionResetError("The connection was closed.")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return await self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        # Of uvloop's own class, not of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("The connection broke before the answer."))

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._body = []

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(self._parser.get_status_code(), b"".join(self._body)))


async def connect(port: int) -> Connection:
    """A connection to this machine's `port`. Raises OSError where none listens."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, HOST, port)
    return connection


async def ask(port: int, method: str, target: str, value: object = None) -> Answer:
    """One request on a connection of its own. Raises OSError."""
    connection = await connect(port)
    try:
        return await connection.request(method, target, value)
    finally:
        connection.close()


async def until_answered(
    port: int, method: str, target: str, value: object = None, *, every: float, seconds: float
) -> Answer:
    """The first answer with status 200, asked for every so many seconds. Raises `CannotMeasure` after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                answer = await _try(port, method, target, value)
                if answer is not None and answer.status == 200:
                    return answer
                await asyncio.sleep(every)
    except TimeoutError:
        raise CannotMeasure(f"{method} {target} at port {port} was not answered within {seconds:g} s.") from None


async def _try(port: int, method: str, target: str, value: object) -> Answer | None:
    try:
        return await ask(port, method, target, value)
    except OSError:
        return None
