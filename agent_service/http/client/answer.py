"""The answer of one exchange while it comes in: its head, then its body at the reader's pace."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Protocol

RawHeaders = list[tuple[bytes, bytes]]
"""Names in lower case."""

TellInterim = Callable[[int, RawHeaders], Awaitable[None]]
"""Is handed status and headers of an interim answer (1xx)."""

# Bytes that may wait for a slow reader; with more, the server is not read from until they are taken.
HIGH_WATER = 256 * 1024


class BrokenExchange(Exception):
    """The server broke the rules or the connection. `untouched`: provably not one byte of the request reached it."""

    def __init__(self, detail: str, *, untouched: bool = False) -> None:
        super().__init__(detail)
        self.untouched = untouched


class Source(Protocol):
    """Where the bytes come from: a transport."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Answer:
    """Filled by the connection, read by one task: `until_head`, then the chunks of the body as an async iterator."""

    def __init__(self, source: Source) -> None:
        self.status = 0
        self.headers: RawHeaders = []
        self.has_head = False
        self.trailers: RawHeaders = []
        """Whole once the body has ended."""
        self.is_complete = False
        self.interim_count = 0
        self._interim: list[tuple[int, RawHeaders]] = []
        self._verdict: asyncio.Event | None = None
        self.has_verdict = False
        self._source = source
        self._is_paused = False
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    # What the connection tells.

    def take_head(self, status: int, headers: RawHeaders) -> None:
        """The final head has come."""
        self.status, self.headers, self.has_head = status, headers, True
        self._decide()
        self._wake()

    def take_interim(self, status: int, headers: RawHeaders) -> None:
        """An interim answer has come; 100 is a verdict, too."""
        self.interim_count += 1
        self._interim.append((status, headers))
        if status == HTTPStatus.CONTINUE:
            self._decide()
        self._wake()

    def take_chunk(self, chunk: bytes) -> None:
        """A piece of the body has come."""
        self._chunks.append(chunk)
        self._buffered += len(chunk)
        if self._buffered > HIGH_WATER and not self._is_paused:
            self._is_paused = True
            self._source.pause_reading()
        self._wake()

    def take_trailer(self, name: bytes, value: bytes) -> None:
        """A field of the trailer section has come."""
        self.trailers.append((name, value))

    def complete(self) -> None:
        """The body has ended as it should."""
        self.is_complete = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """No more will come; whoever reads learns why, after what has come. Only the first word counts."""
        if not self.is_complete and self._error is None:
            self._error = error
            self._decide()
            self._wake()

    # What the reader asks.

    async def verdict(self) -> None:
        """Return when whoever asked before sending the body is answered: with 100, or with the answer itself."""
        if not self.has_verdict:
            self._verdict = asyncio.Event()
            await self._verdict.wait()

    async def until_head(self, tell: TellInterim | None = None) -> None:
        """Return when the head is there; `tell` gets what came before it. Raises what the exchange failed with."""
        while self._interim or not self.has_head:
            if not self._interim:
                await self._next_news()
            elif tell is None:
                self._interim.clear()
            else:
                await tell(*self._interim.pop(0))

    def __aiter__(self) -> Answer:
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self.is_complete:
                raise StopAsyncIteration
            await self._next_news()
        return self._take()

    def _take(self) -> bytes:
        """All that is there, as one."""
        chunk = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._is_paused:
            self._is_paused = False
            self._source.resume_reading()
        return chunk

    async def _next_news(self) -> None:
        if self._error is not None:
            raise self._error
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        await waiter

    def _decide(self) -> None:
        self.has_verdict = True
        if self._verdict is not None:
            self._verdict.set()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
