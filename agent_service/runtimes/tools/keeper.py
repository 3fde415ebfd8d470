"""Holds one session open: opens it, asks whether the server is there, keeps its list of tools, opens it again.

                    ┌─────────────── opened ───────────────┐
                    ▼                                      │
connecting ──▶ ready ──lost──▶ connecting (tools kept) ────┤
    │                               │                      │
    └── failed ──▶ unavailable ◀────┘ failed, or lost again and again
                        └── backoff, try ──────────────────┘
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from time import perf_counter
from typing import Any, Protocol

import structlog
from mcp import types
from mcp.shared.exceptions import McpError

from agent_service.contract import ToolServerState
from agent_service.definition import McpServer
from agent_service.lifecycle import utc_now
from agent_service.notice import Notice
from agent_service.runtimes.tools.catalog import Catalog, read_catalog
from agent_service.runtimes.tools.errors import CallFailed, ServerLost
from agent_service.runtimes.tools.link import Link
from agent_service.runtimes.tools.reasons import is_foreseen, reason_of
from agent_service.runtimes.tools.secrets import Secrets
from agent_service.runtimes.tools.session import Notification, Session
from agent_service.runtimes.tools.timing import Timing
from agent_service.runtimes.tools.transport import Streams

log = structlog.stdlib.get_logger(__name__)

_LOGGED_CHARACTERS = 1000
# Of the interval between pings, after one that had no answer.
_SOONER = 0.1


class Connect(Protocol):
    """Opens the streams of a server."""

    def __call__(
        self, server: McpServer, link: Link, secrets: Secrets, timing: Timing, /
    ) -> AbstractAsyncContextManager[Streams]: ...


Offload = Callable[..., Awaitable[Catalog]]
"""Runs a function with arguments outside of the event loop."""


class Keeper:
    """One server's session. `run` opens and closes it, all in one task, as the libraries below demand."""

    def __init__(
        self,
        server: McpServer,
        secrets: Secrets,
        connect: Connect,
        *,
        timing: Timing,
        jitter: Callable[[], float],
        offload: Offload,
        on_change: Callable[[], None],
    ) -> None:
        self.state = ToolServerState.CONNECTING
        self.since = utc_now()
        self.session: Session | None = None
        self.catalog = Catalog()
        self.last_error: str | None = None
        self.ping_ms: float | None = None
        self.connections = 0
        self.is_closing = False
        self.first_outcome = asyncio.Event()
        """Set once the server has been reached, or not, for the first time."""
        self.news = Notice()
        """Announces each change of state."""
        self._server = server
        self._secrets = secrets
        self._connect = connect
        self._timing = timing
        self._jitter = jitter
        self._offload = offload
        self._on_change = on_change
        self._woken = asyncio.Event()
        self._is_stale = False
        self._link = Link(self._woken.set)

    async def run(self) -> None:
        """Until closed."""
        failures = 0
        while True:
            was_ready, stayed_seconds = await self._attempt()
            if self.is_closing:
                return
            failures = 0 if stayed_seconds >= self._timing.stable else failures + 1
            if not was_ready or failures > 1:
                self._turn(ToolServerState.UNAVAILABLE)
            await asyncio.sleep(self._timing.backoff(failures - 1, self._jitter()) if failures else 0)

    def suspect(self) -> None:
        """A call had no answer: ask whether the server is there at all."""
        self._link.suspect()

    def close(self) -> None:
        """`run` is about to be cancelled; that alone does not do, for a failing library may swallow it."""
        self.is_closing = True
        self._woken.set()

    async def _attempt(self) -> tuple[bool, float]:
        """One connection, from its opening to its loss; whether it was ever ready, and for how many seconds."""
        loop = asyncio.get_running_loop()
        link = self._link = Link(self._woken.set)
        ready_at: float | None = None
        stayed_seconds = 0.0
        try:
            async with AsyncExitStack() as stack:
                session = await self._open(stack, link)
                ready_at = loop.time()
                self._become_ready(session)
                try:
                    await self._attend(session, link)
                finally:
                    # Before the transport takes its time to close: nobody shall wait for it.
                    stayed_seconds = loop.time() - ready_at
                    self._note(link.lose("the connection is closed"), was_ready=True)
        except Exception as error:
            if not is_foreseen(error):
                log.exception("MCP connection failed in an unforeseen way", server=self._server.name)
            if ready_at is None:
                self._note(link.lost or error, was_ready=False)
        finally:
            self.session = None
            link.lose("the connection is closed")
            self.first_outcome.set()
        return ready_at is not None, stayed_seconds

    async def _open(self, stack: AsyncExitStack, link: Link) -> Session:
        async with asyncio.timeout(self._timing.connect):
            streams = await stack.enter_async_context(self._connect(self._server, link, self._secrets, self._timing))
            session = Session(streams, link, on_message=self._on_message, on_log=self._on_log)
            await stack.enter_async_context(session)
            await session.initialize()
            await self._refresh(session)
        return session

    async def _attend(self, session: Session, link: Link) -> None:
        """Ping, and refresh the tools, until the connection is lost."""
        loop = asyncio.get_running_loop()
        ping_at = loop.time() + self._timing.ping_interval
        refresh_at = loop.time() + self._timing.refresh
        while link.lost is None and not self.is_closing:
            self._woken.clear()
            if self._is_stale and loop.time() >= refresh_at:
                await self._refresh_or_keep(session)
                refresh_at = loop.time() + self._timing.refresh
            elif link.is_suspect or loop.time() >= ping_at:
                is_well = await self._ping(session, link)
                ping_at = loop.time() + self._timing.ping_interval * (1 if is_well else _SOONER)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(min(ping_at, refresh_at) if self._is_stale else ping_at):
                        await self._woken.wait()

    async def _ping(self, session: Session, link: Link) -> bool:
        """Whether it answered. One that did not is lost, unless it works on calls and lately answered one."""
        # The event loop's own time is counted in whole milliseconds.
        began = perf_counter()
        link.is_suspect = False
        try:
            async with asyncio.timeout(self._timing.ping):
                await session.send_ping()
        except (TimeoutError, ServerLost) as error:
            if not link.may_be_busy(asyncio.get_running_loop().time() - self._server.timeout_seconds):
                silence = f"it did not answer a ping within {self._timing.ping:g} s"
                link.lose(str(error) if isinstance(error, ServerLost) else silence)
            return False
        except (McpError, CallFailed):
            # An answer, if not a good one: it is there.
            log.debug("MCP server answers a ping with an error", server=self._server.name)
        self.ping_ms = round((perf_counter() - began) * 1000, 3)
        return True

    async def _refresh_or_keep(self, session: Session) -> None:
        try:
            async with asyncio.timeout(self._timing.connect):
                await self._refresh(session)
        except (McpError, CallFailed, ServerLost, TimeoutError) as error:
            reason = self._secrets.redact(reason_of(error))
            log.warning("Tools cannot be listed again; the old list stays", server=self._server.name, reason=reason)

    async def _refresh(self, session: Session) -> None:
        self._is_stale = False
        listed, problem = await session.tool_pages()
        catalog = await self._offload(read_catalog, listed, self._server.allowed_tools)
        if problem is not None:
            catalog = Catalog(catalog.tools, (f"The server is odd: {problem}.", *catalog.warnings))
        for warning in catalog.warnings:
            if warning not in self.catalog.warnings:
                log.warning("Trouble with the tools of an MCP server", server=self._server.name, reason=warning)
        if catalog != self.catalog:
            self.catalog = catalog
            self._on_change()

    def _become_ready(self, session: Session) -> None:
        self.session = session
        self.connections += 1
        self.last_error = None
        self._turn(ToolServerState.READY)
        self.first_outcome.set()
        log.info("MCP server connected", server=self._server.name, tools=len(self.catalog.tools))

    def _note(self, error: BaseException | str, *, was_ready: bool) -> None:
        """It is lost, or was not reached."""
        self.session = None
        if self.is_closing:
            return
        reason = self._secrets.redact(reason_of(error))
        is_news = reason != self.last_error
        self.last_error = reason
        if was_ready:
            self._turn(ToolServerState.CONNECTING)
            log.warning("MCP server lost, connecting again", server=self._server.name, reason=reason)
        elif is_news:
            log.warning("MCP server cannot be reached, trying again", server=self._server.name, reason=reason)

    def _turn(self, state: ToolServerState) -> None:
        if state is not self.state:
            self.state = state
            self.since = utc_now()
            self._on_change()
        self.news.announce()

    async def _on_message(self, message: Any) -> None:
        """Called by the session's only reader: it must not wait for anything."""
        if not isinstance(message, Notification):
            log.debug("MCP server sends what nobody waits for", server=self._server.name, kind=type(message).__name__)
        elif isinstance(message.root, types.ToolListChangedNotification):
            self._is_stale = True
            self._woken.set()
        else:
            log.debug("MCP server notifies", server=self._server.name, method=message.root.method)

    async def _on_log(self, params: types.LoggingMessageNotificationParams) -> None:
        text = self._secrets.redact(str(params.data)[:_LOGGED_CHARACTERS])
        log.debug("MCP server logs", server=self._server.name, severity=params.level, text=text)
