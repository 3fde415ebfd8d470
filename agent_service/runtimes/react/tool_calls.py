"""The edge to the tools: every call is in the log, and one of a tool that is not there gets an answer too."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from langchain.agents.middleware.types import AgentMiddleware, ToolCallRequest
from langchain_core.messages import ToolMessage
from langgraph.types import Command

from agent_service.runtimes.react.turn import Turn

log = structlog.stdlib.get_logger(__name__)

Handler = Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]


class LoggedTools(AgentMiddleware[Any, Turn]):
    """While it stands there the graph has a place for tools even when it has none, where a model that asks for one is
    told so.
    """

    async def awrap_tool_call(self, request: ToolCallRequest, handler: Handler) -> ToolMessage | Command[Any]:
        began = time.monotonic()
        status = "ended"
        try:
            result = await handler(request)
            status = getattr(result, "status", "success")
            return result
        finally:
            duration_ms = round((time.monotonic() - began) * 1000, 3)
            log.info("Tool called", tool=request.tool_call["name"], status=status, duration_ms=duration_ms)
