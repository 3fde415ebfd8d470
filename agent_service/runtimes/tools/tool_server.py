"""One server of tools, as an agent's tools call it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import structlog
from mcp.shared.exceptions import McpError
from mcp.types import CallToolResult

from agent_service.contract import ToolServerHealth, ToolServerState
from agent_service.definition import McpServer
from agent_service.notice import Notice
from agent_service.runtimes.tools.catalog import ServerTool
from agent_service.runtimes.tools.connection import connect
from agent_service.runtimes.tools.errors import CallFailed, CallTimedOut, ServerLost, ToolServerUnavailable
from agent_service.runtimes.tools.keeper import Connect, Keeper, Offload
from agent_service.runtimes.tools.metrics import CallOutcome, ToolMetrics
from agent_service.runtimes.tools.secrets import Secrets
from agent_service.runtimes.tools.session import Session
from agent_service.runtimes.tools.timing import Timing

log = structlog.stdlib.get_logger(__name__)

_FOREVER_SECONDS = 86_400.0


class ToolServer:
    """Calls tools over the session that its keeper holds open. `on_change`: the tools on offer may be others now."""

    def __init__(
        self,
        definition: McpServer,
        secrets: Secrets,
        metrics: ToolMetrics,
        on_change: Callable[[], None],
        *,
        timing: Timing,
        connect: Connect = connect,
        jitter: Callable[[], float] = random.random,
        offload: Offload = asyncio.to_thread,
    ) -> None:
        self.definition = definition
        self.is_awaited = True
        """Nobody has waited in vain for its first connection yet."""
        self._metrics = metrics
        self._timing = timing
        self._jitter = jitter
        self._secrets = secrets
        self._keeper = Keeper(
            definition, secrets, connect, timing=timing, jitter=jitter, offload=offload, on_change=on_change
        )
        self._task: asyncio.Task[None] | None = None
        self._holds = 0
        self._released = Notice()
        self._calls = 0
        self._failed_calls = 0

    @property
    def name(self) -> str:
        """As the definition names it."""
        return self.definition.name

    @property
    def known_tools(self) -> tuple[ServerTool, ...]:
        """Those that the agent may use, also while the server is away."""
        return self._keeper.catalog.tools

    @property
    def is_offered(self) -> bool:
        """Its tools can be called, or will be in a moment: it was there, and is being connected again."""
        return self._keeper.connections > 0 and self._keeper.state is not ToolServerState.UNAVAILABLE

    @property
    def last_error(self) -> str:
        """Why it is not there."""
        return self._keeper.last_error or "it has not been reached yet"

    def health(self) -> ToolServerHealth:
        """How it is now."""
        keeper = self._keeper
        return ToolServerHealth(
            name=self.name,
            transport=self.definition.transport,
            fail_mode=self.definition.fail_mode,
            state=keeper.state,
            tools=len(keeper.catalog.tools),
            last_error=keeper.last_error,
            since=keeper.since,
            ping_ms=keeper.ping_ms,
            reconnects=max(0, keeper.connections - 1),
            calls_total=self._calls,
            calls_failed=self._failed_calls,
            warnings=list(keeper.catalog.warnings),
        )

    def start(self) -> None:
        """Begin to connect, in a task of its own."""
        self._task = asyncio.create_task(self._keeper.run(), name=f"MCP server {self.name}")
        self._task.add_done_callback(self._ended)

    async def settle(self) -> None:
        """Return once it has been reached, or could not be, for the first time."""
        await self._keeper.first_outcome.wait()
        self.is_awaited = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """While inside, it is not closed by `retire`."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self._released.announce()

    async def retire(self) -> None:
        """Close it when nobody holds it any more."""
        while self._holds:
            await self._released.wait(_FOREVER_SECONDS)
        await self.close()

    async def close(self) -> None:
        """End the session, and with it the calls in flight."""
        if self._task is not None:
            self._keeper.close()
            self._task.cancel()
            await asyncio.wait({self._task})

    async def call(self, tool: ServerTool, arguments: dict[str, Any]) -> CallToolResult:
        """What the tool answers, errors of its own included; all tries together take `timeout_seconds` at most.

        Raises `ToolServerUnavailable` when no answer was to be had, `CallFailed` for an answer that is no result.
        """
        began = perf_counter()
        outcome = CallOutcome.CANCELLED
        try:
            with self.held():
                result = await self._answer(tool, arguments)
            outcome = CallOutcome.TOOL_ERROR if result.isError else CallOutcome.SUCCEEDED
            return result
        except ToolServerUnavailable as error:
            outcome = CallOutcome.TIMED_OUT if isinstance(error, CallTimedOut) else CallOutcome.UNAVAILABLE
            raise
        except CallFailed:
            outcome = CallOutcome.FAILED
            raise
        finally:
            self._count(tool, outcome, perf_counter() - began)

    async def _answer(self, tool: ServerTool, arguments: dict[str, Any]) -> CallToolResult:
        seconds = self.definition.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                result = await self._try(tool, arguments)
        except TimeoutError as error:
            self._keeper.suspect()
            raise CallTimedOut(self.name, f"{tool.name!r} did not answer within {seconds:g} s") from error
        except ServerLost as lost:
            raise ToolServerUnavailable(self.name, self._secrets.redact(str(lost))) from lost
        except McpError as error:
            message = self._secrets.redact(error.error.message)
            raise CallFailed(f"it answered with the error {message!r:.1000}") from error
        tool.check(result)
        return result

    async def _try(self, tool: ServerTool, arguments: dict[str, Any]) -> CallToolResult:
        """Call, and again as `retries` says: only what the server has surely not begun, or may do twice."""
        for attempt in range(self.definition.retries + 1):
            if attempt:
                await asyncio.sleep(self._timing.backoff(attempt - 1, self._jitter()))
            try:
                return await (await self._session()).call(tool.name, arguments)
            except ServerLost as lost:
                if attempt == self.definition.retries or (lost.begun and not tool.repeatable):
                    raise
                reason = self._secrets.redact(str(lost))
                log.info("MCP call is tried again", server=self.name, tool=tool.name, reason=reason)
        raise AssertionError("the last attempt returns or raises")

    async def _session(self) -> Session:
        """The session, once it is connected again. Raises `ServerLost`."""
        while self._keeper.session is None:
            if self._keeper.state is ToolServerState.UNAVAILABLE or self._task is None or self._task.done():
                raise ServerLost(self.last_error)
            await self._keeper.news.wait(_FOREVER_SECONDS)
        return self._keeper.session

    def _count(self, tool: ServerTool, outcome: CallOutcome, seconds: float) -> None:
        self._calls += 1
        if outcome in (CallOutcome.FAILED, CallOutcome.TIMED_OUT, CallOutcome.UNAVAILABLE):
            self._failed_calls += 1
            log.warning("MCP call failed", server=self.name, tool=tool.name, outcome=outcome.value)
        self._metrics.observe(self.name, outcome, seconds)

    def _ended(self, task: asyncio.Task[None]) -> None:
        # Whoever waits for a session must learn that none will come.
        self._keeper.news.announce()
        if not task.cancelled() and not (self._keeper.is_closing and task.exception() is None):
            log.critical("A long-lived task has ended", task=task.get_name(), exc_info=task.exception())
