"""A task's chunks and its end as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from agent_service.encoding import encode
from agent_service.errors import Refusal
from agent_service.http.disconnect import disconnected
from agent_service.http.event_stream import HEADERS, KEEP_ALIVE, KEEP_ALIVE_SECONDS, event
from agent_service.problems import Problems
from agent_service.tasks import Answer, Job

# Chunks that an agent may be ahead of its client.
READ_AHEAD = 16


class Chunks:
    """From the agent to its client, at the client's pace: `put` waits while the client is READ_AHEAD behind."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(READ_AHEAD)
        self._closed = False

    async def put(self, chunk: Any) -> None:
        """Queue one chunk; after `close` it is thrown away. Raises `ResultNotJson`."""
        data = encode(chunk)
        await self._room.acquire()
        if self._closed:
            # Whoever else waits for room is to find out as well.
            self._room.release()
        else:
            self._queue.put_nowait(data)

    def close(self) -> None:
        """No more chunks will be read after those that are queued."""
        if not self._closed:
            self._closed = True
            self._room.release()
            self._queue.put_nowait(None)

    async def frames(self) -> AsyncIterator[bytes]:
        """The events to send until `close`, with comments in between that keep the connection alive."""
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    data = await self._queue.get()
            except TimeoutError:
                yield KEEP_ALIVE
                continue
            if data is None:
                return
            self._room.release()
            yield event("chunk", data)


def answer_json(task_id: str, answer: Answer) -> bytes:
    """The wire form of `contract.ExecuteAnswer`, around a result that is JSON already."""
    return b'{"task_id":"%s","result":%s,"duration_ms":%s}' % (
        task_id.encode(),
        answer.result,
        repr(answer.duration_ms).encode(),
    )


class EventStream:
    """ASGI response: `chunk` events, then exactly one `result` or `error`.

    `on_disconnect` is called when the client goes.
    """

    def __init__(self, job: Job, chunks: Chunks, problems: Problems, on_disconnect: Callable[[], None]) -> None:
        self._job = job
        self._chunks = chunks
        self._problems = problems
        self._on_disconnect = on_disconnect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._job.answer.add_done_callback(lambda _: self._chunks.close())
        watcher = asyncio.create_task(self._watch(receive), name=f"disconnect of {self._job.task_id}")
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            async for frame in self._chunks.frames():
                await send({"type": "http.response.body", "body": frame, "more_body": True})
            if self._job.answer.done():
                await send({"type": "http.response.body", "body": self._last(), "more_body": False})
        finally:
            watcher.cancel()

    async def _watch(self, receive: Receive) -> None:
        await disconnected(receive)
        self._chunks.close()
        self._on_disconnect()

    def _last(self) -> bytes:
        try:
            return event("result", answer_json(self._job.task_id, self._job.answer.result()))
        except Refusal as refusal:
            return event("error", self._problem(refusal))

    def _problem(self, refusal: Refusal) -> bytes:
        problem = self._problems.of(refusal, task_id=self._job.task_id)
        return problem.model_dump_json(exclude_none=True).encode()
