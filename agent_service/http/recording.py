"""An answer that is read by many while it comes in, each from its start."""

from __future__ import annotations

import asyncio
from collections import deque

from agent_service.http.client.answer import RawHeaders, TellInterim


class Recording:
    """Written by one, read by many; of an answer over `limit` bytes only what its readers still need is kept.

    While it is kept whole its writer never waits; over the limit it waits for the slowest reader, if there is one.
    """

    def __init__(self, limit: int) -> None:
        self.status = 0
        self.headers: RawHeaders = []
        self.has_head = False
        self.is_complete = False
        self.error: Exception | None = None
        self.interim: list[tuple[int, RawHeaders]] = []
        """The interim answers before the head."""
        self.size = 0
        """Bytes of the body so far."""
        self._limit = limit
        self._chunks: deque[bytes] = deque()
        self._gone = 0
        self._held = 0
        self._readers: set[Reader] = set()
        self._news = asyncio.Event()
        self._progress = asyncio.Event()

    @property
    def is_whole(self) -> bool:
        """Whether it is still there from its start."""
        return self.size <= self._limit

    async def tell_interim(self, status: int, headers: RawHeaders) -> None:
        """An interim answer has come; nobody is waited for."""
        self.interim.append((status, headers))
        self._wake()

    def begin(self, status: int, headers: RawHeaders) -> None:
        """The head has come."""
        self.status, self.headers, self.has_head = status, headers, True
        self._wake()

    async def write(self, chunk: bytes) -> None:
        """A piece of the body has come."""
        self._chunks.append(chunk)
        self.size += len(chunk)
        self._held += len(chunk)
        self._wake()
        self._trim()
        while self._held > self._limit:
            self._progress.clear()
            await self._progress.wait()

    @property
    def held(self) -> int:
        """Bytes of the body that are kept now."""
        return self._held

    def keep(self, body: bytes) -> None:
        """All of a body that is within the limit has come."""
        if body:
            self._chunks.append(body)
        self.size = self._held = len(body)
        self.complete()

    def complete(self) -> None:
        """The body has ended as it should."""
        self.is_complete = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """No more will come; readers learn why, after what has come."""
        self.error = error
        self._wake()

    def body(self) -> bytes:
        """All of a whole answer's body."""
        return b"".join(self._chunks)

    def reader(self) -> Reader:
        """One more reader, who closes it; only while the answer `is_whole`."""
        reader = Reader(self)
        self._readers.add(reader)
        return reader

    def chunk(self, index: int) -> bytes | None:
        """A piece of the body; None where it has not come yet."""
        at = index - self._gone
        return self._chunks[at] if at < len(self._chunks) else None

    def moved(self) -> None:
        """A reader has taken something."""
        self._trim()

    def leave(self, reader: Reader) -> None:
        """A reader is done."""
        self._readers.discard(reader)
        self._trim()

    async def news(self) -> None:
        """Return when something has changed."""
        await self._news.wait()

    def _trim(self) -> None:
        if self.is_whole:
            return
        end = self._gone + len(self._chunks)
        needed = min((reader.position for reader in self._readers), default=end)
        while self._gone < needed:
            self._held -= len(self._chunks.popleft())
            self._gone += 1
        self._progress.set()

    def _wake(self) -> None:
        # Whoever waits holds the old event: a fresh one makes each change wake each reader once.
        self._news.set()
        self._news = asyncio.Event()


class Reader:
    """The body's pieces as an async iterator, from the first on. Raises what the writer failed with."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.position = 0

    async def until_head(self, tell: TellInterim | None = None) -> None:
        """Return when the head is there, and `tell` has got what came before it."""
        recording, told = self._recording, 0
        while told < len(recording.interim) or not recording.has_head:
            if told == len(recording.interim):
                await self._next_news()
                continue
            if tell is not None:
                await tell(*recording.interim[told])
            told += 1

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> bytes:
        while (chunk := self._recording.chunk(self.position)) is None:
            if self._recording.is_complete:
                raise StopAsyncIteration
            await self._next_news()
        self.position += 1
        self._recording.moved()
        return chunk

    def close(self) -> None:
        """Read no more."""
        self._recording.leave(self)

    async def _next_news(self) -> None:
        if self._recording.error is not None:
            raise self._recording.error
        await self._recording.news()
