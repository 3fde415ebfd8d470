"""Uvicorn, told to leave signals alone and to sleep until it is stopped."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from agent_service.errors import AdapterError

# Seconds that finished answers have to reach their clients once the drain is over.
DELIVERY_SECONDS = 5
# Seconds between updates of the Date header, uvicorn's own unit of time.
TICK_SECONDS = 1.0


class HttpServer(uvicorn.Server):
    """Serves one app on one listening socket, and on others that join it."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
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

    def leave(self, listener: socket.socket) -> None:
        """Accept no more connections from one of the sockets, which others share, and part with those that there are.

        An idle connection is closed now, a busy one after its answer, which says so (`Connection: close`).
        """
        address = listener.getsockname()
        self.servers[self._listeners.index(listener)].close()
        for connection in list(self.server_state.connections):
            if connection.transport.get_extra_info("sockname") == address:
                connection.shutdown()

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
