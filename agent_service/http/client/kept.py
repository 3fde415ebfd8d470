"""Requests that may be repeated, one at a time, on a connection that is kept in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from agent_service.http.client.answer import BrokenExchange
from agent_service.http.client.connection import Connection


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class KeptConnection:
    """To one server at a time; asked for another one, it hangs up on the first. `headers` go with each request."""

    def __init__(self, connect: Callable[[str], Awaitable[Connection]], headers: Mapping[str, str]) -> None:
        self._connect = connect
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._kept: tuple[str, Connection] | None = None

    async def post(self, url: str, body: bytes) -> Reply:
        """The answer, whatever its status. Raises OSError, `BrokenExchange`."""
        parts = urlsplit(url)
        server = f"{parts.scheme}://{parts.netloc}"
        head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n{self._headers}\r\n"
        ).encode()
        if (kept := self._take(server)) is not None:
            try:
                return await self._exchange(kept, server, head, body)
            except BrokenExchange:
                # Closed by the server at the very moment, most likely; a new connection finds out.
                pass
        return await self._exchange(await self._connect(url), server, head, body)

    def close(self) -> None:
        """Hang up."""
        if self._kept is not None:
            self._kept[1].abort()
            self._kept = None

    def _take(self, server: str) -> Connection | None:
        if self._kept is not None and self._kept[0] == server and self._kept[1].is_usable():
            _, connection = self._kept
            self._kept = None
            return connection
        self.close()
        return None

    async def _exchange(self, connection: Connection, server: str, head: bytes, body: bytes) -> Reply:
        try:
            answer = connection.begin(head, body)
            await answer.until_head()
            return Reply(answer.status, b"".join([piece async for piece in answer]))
        finally:
            if connection.finish():
                self._kept = server, connection
