"""An agent from data in this process: the scripted model, and tools that are plain functions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool
from prometheus_client import CollectorRegistry

from agent_service.contract import ToolServerHealth
from agent_service.definition import AgentDefinition, McpServer
from agent_service.runtimes.react.runtime import ReactRuntime
from agent_service.runtimes.tools.errors import ToolServerUnavailable

Json = dict[str, Any]


def definition(*script: Any, **parts: Any) -> AgentDefinition:
    """A scripted agent. `parts`: `system_prompt`, `guardrails`, `model` (its parameters), and top-level keys."""
    behavior = {key: parts.pop(key) for key in ("system_prompt", "guardrails") if key in parts}
    model = {
        "provider": "scripted",
        "model": "script",
        "script": list(script),
        "retries": 0,
        **parts.pop("model", {}),
    }
    return AgentDefinition.model_validate({"behavior": {"model_parameters": model, **behavior}, **parts})


def calls(*names: str, **args: Any) -> Json:
    """A line of a script that calls tools."""
    return {"tool_calls": [{"name": name, "args": args} for name in names]}


def tool(function: Callable[..., Awaitable[str]]) -> BaseTool:
    """A tool from an async function, its docstring the description."""
    return StructuredTool.from_function(coroutine=function)


class FakeTools:
    """Stands where the toolbox stands. `closed`: the name of a server that is down and needed."""

    def __init__(self, *tools: BaseTool) -> None:
        self.offered = list(tools)
        self.closed: str | None = None
        self.servers: list[McpServer] = []
        self.is_open = False
        self.metrics = CollectorRegistry()

    async def open(self) -> None:
        self.is_open = True

    async def settled(self, seconds: float) -> None: ...

    def tools(self) -> list[BaseTool]:
        return list(self.offered)

    def require_closed_servers(self) -> None:
        if self.closed is not None:
            raise ToolServerUnavailable(self.closed, "it is down")

    def held(self) -> nullcontext[None]:
        return nullcontext()

    def health(self) -> list[ToolServerHealth]:
        return []

    async def update(self, servers: Sequence[McpServer]) -> None:
        self.servers = list(servers)

    async def close(self) -> None:
        self.is_open = False


@asynccontextmanager
async def running(
    made: AgentDefinition, *tools: BaseTool, directory: Path = Path("unused"), fake: FakeTools | None = None
) -> AsyncIterator[ReactRuntime]:
    """The runtime, open."""
    runtime = ReactRuntime(made, fake or FakeTools(*tools), str, directory)
    await runtime.open()
    try:
        yield runtime
    finally:
        await runtime.close()


def answered(made: AgentDefinition, *tools: BaseTool, directory: Path = Path("unused"), **parameters: Any) -> Json:
    """The result of one call."""

    async def scenario() -> Json:
        async with running(made, *tools, directory=directory) as runtime:
            return dict(await runtime.execute(parameters))

    return asyncio.run(scenario())


def streamed(made: AgentDefinition, *tools: BaseTool, **parameters: Any) -> tuple[list[Json], Json]:
    """The chunks and the result of one call."""

    async def scenario() -> tuple[list[Json], Json]:
        async with running(made, *tools) as runtime:
            chunks: list[Json] = []

            async def emit(chunk: Json) -> None:
                chunks.append(chunk)

            return chunks, await runtime.stream(parameters, emit)

    return asyncio.run(scenario())


def tokens(chunks: list[Json]) -> str:
    """The text that the chunks are pieces of."""
    return "".join(chunk["text"] for chunk in chunks if chunk["type"] == "token")
