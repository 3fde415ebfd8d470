"""An MCP server in memory, which the test can break, on a loop whose time the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCMessage, JSONRPCRequest

from agent_service.definition import McpServer
from agent_service.runtimes.tools.catalog import Catalog
from agent_service.runtimes.tools.errors import ServerLost
from agent_service.runtimes.tools.link import Link
from agent_service.runtimes.tools.metrics import ToolMetrics
from agent_service.runtimes.tools.secrets import Secrets
from agent_service.runtimes.tools.timing import Timing
from agent_service.runtimes.tools.tool_server import ToolServer
from agent_service.runtimes.tools.transport import Streams

SCHEMA = {"type": "object", "properties": {}}


def listed(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": SCHEMA, **more}


def definition(name: str = "fake", **changes: Any) -> McpServer:
    return McpServer.model_validate({"name": name, "transport": "stdio", "command": "fake", **changes})


async def inline(function: Callable[..., Catalog], *arguments: Any) -> Catalog:
    return function(*arguments)


class FakeServer:
    """Answers what it knows. A method in `silent` gets no answer, one in `errors` an error; `refuses` says why no
    connection comes about.
    """

    def __init__(self, *tools: dict[str, Any]) -> None:
        self.tools = list(tools)
        self.silent: set[str] = set()
        self.errors: set[str] = set()
        self.refuses: str | None = None
        self.version: str | None = None
        self.connected_at: list[float] = []
        self.seen: list[str] = []
        self.link: Link | None = None
        self.result: dict[str, Any] = {"content": [{"type": "text", "text": "done"}]}
        self._send: Callable[[dict[str, Any]], Any] | None = None

    @asynccontextmanager
    async def connect(
        self, server: McpServer, link: Link, secrets: Secrets, timing: Timing, /
    ) -> AsyncIterator[Streams]:
        self.connected_at.append(asyncio.get_running_loop().time())
        if self.refuses is not None:
            raise ServerLost(self.refuses)
        self.link = link
        to_client, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](100)
        outgoing, from_client = anyio.create_memory_object_stream[SessionMessage](0)

        async def send(message: dict[str, Any]) -> None:
            await to_client.send(SessionMessage(JSONRPCMessage.model_validate({"jsonrpc": "2.0", **message})))

        async def serve() -> None:
            async for item in from_client:
                message = item.message.root
                self.seen.append(str(getattr(message, "method", "")))
                if isinstance(message, JSONRPCRequest):
                    link.began(int(message.id))
                    if message.method not in self.silent:
                        await send({"id": message.id, **self.answer(message)})

        self._send = send
        async with to_client, incoming, outgoing, from_client, anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            try:
                yield incoming, outgoing
            finally:
                tasks.cancel_scope.cancel()

    def answer(self, request: JSONRPCRequest) -> dict[str, Any]:
        if request.method in self.errors:
            return {"error": {"code": -32601, "message": "Method not found"}}
        match request.method:
            case "initialize":
                params = request.params or {}
                info = {"name": "fake", "version": "1"}
                capabilities = {"tools": {"listChanged": True}}
                version = self.version or params["protocolVersion"]
                return {"result": {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info}}
            case "tools/list":
                return {"result": {"tools": self.tools}}
            case "tools/call":
                return {"result": self.result}
        return {"result": {}}

    async def notify(self, method: str) -> None:
        assert self._send is not None
        await self._send({"method": method})

    def die(self, reason: str = "it died") -> None:
        assert self.link is not None
        self.link.lose(reason)

    def calls(self) -> int:
        return self.seen.count("tools/call")


def client(
    server: FakeServer, *, timing: Timing | None = None, on_change: Callable[[], None] = lambda: None, **changes: Any
) -> ToolServer:
    """What talks to it, without any jitter."""
    return ToolServer(
        definition(**changes),
        Secrets(lambda text: text),
        ToolMetrics(lambda: []),
        on_change,
        timing=timing or Timing(),
        connect=server.connect,
        jitter=lambda: 1.0,
        offload=inline,
    )
