"""Uvicorn, told to leave signals alone and to sleep until it is stopped."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from agent_service.errors import AdapterError
from agent_service.http.protocol import ServerProtocol
from agent_service.http.sockets import BACKLOG

# Seconds that finished answers have to reach their clients once the drain is over.
DELIVERY_SECONDS = 5
# Seconds between updates of the Date header, uvicorn's own unit of time.
TICK_SECONDS = 1.0
# Seconds that requests have to come by connections that are about to be given up, and between looks at these.
PARTING_SECONDS = 0.5
PARTING_PAUSE_SECONDS = 0.02


class HttpServer(uvicorn.Server):
    """Serves one app on one listening socket, and on others that join it."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=ServerProtocol,
                backlog=BACKLOG,
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=DELIVERY_SECONDS,
            )
        )
        self._listeners: list[socket.socket] = []
        self._stopped = asyncio.Event()
        self._listening = asyncio.Event()

    @asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
        """Accepts connections while inside; leaving delivers the answers under way. Yields the task that serves."""
        self._listeners = [listener]
        task = asyncio.create_task(self.serve(sockets=self._listeners), name="http server")
        listening = asyncio.create_task(self._listening.wait(), name="http server's start")
        try:
            await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
            yield task
        finally:
            listening.cancel()
            self._stopped.set()
            await asyncio.wait({task})
        if (error := task.exception()) is not None:
            raise AdapterError(f"The HTTP server failed: {type(error).__name__}: {error}.") from error

    async def join(self, listener: socket.socket) -> None:
        """Accept connections from one more socket; inside `serving` only."""
        earlier = self.servers
        await super().startup([listener])
        self.servers = [*earlier, *self.servers]
        # Uvicorn closes these at its end: it was handed this very list.
        self._listeners.append(listener)

    async def leave(self, listener: socket.socket, *, within_seconds: float) -> None:
        """Accept no more connections from one of the sockets, which others share, and part with those that there are.

        A request may be on its way on each: it has `PARTING_SECONDS`, or less, to come and be answered. Then idle
        connections are closed, and busy ones are after their answer.
        """
        address = listener.getsockname()
        self.servers[self._listeners.index(listener)].close()
        deadline = time.monotonic() + min(within_seconds, PARTING_SECONDS)
        while (connections := self._connections_at(address)) and time.monotonic() < deadline:  # noqa: ASYNC110 - no event
            await asyncio.sleep(PARTING_PAUSE_SECONDS)
        for connection in connections:
            connection.shutdown()

    def _part_with_slow_clients(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in tuple(self.server_state.connections):
            cast(ServerProtocol, connection).expire(now)

    def _connections_at(self, address: object) -> list[Any]:
        connections = list(self.server_state.connections)
        return [each for each in connections if each.transport.get_extra_info("sockname") == address]

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are `signals.StopSignals`' business."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening.set()

    async def main_loop(self) -> None:
        """Uvicorn's own wakes ten times a second, which a thousand idle agents would feel."""
        while not await self.on_tick(0):
            self._part_with_slow_clients()
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await self._stopped.wait()
                    return
            except TimeoutError:
                continue


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where there is one; None stands for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        # Not made for Windows; asyncio's own loop does.
        return None
    return uvloop.new_event_loop
