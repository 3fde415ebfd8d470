"""What the agent asks of its tools; `tools.toolbox.Toolbox` has it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from langchain_core.tools import BaseTool
from prometheus_client.registry import Collector

from agent_service.contract import ToolServerHealth
from agent_service.definition import McpServer


class Tools(Protocol):
    """See `Toolbox`."""

    @property
    def metrics(self) -> Collector: ...

    async def open(self) -> None: ...

    async def settled(self, seconds: float) -> None: ...

    def tools(self) -> list[BaseTool]: ...

    def require_closed_servers(self) -> None: ...

    def held(self) -> AbstractContextManager[None]: ...

    def health(self) -> list[ToolServerHealth]: ...

    async def update(self, servers: Sequence[McpServer]) -> None: ...

    async def close(self) -> None: ...
