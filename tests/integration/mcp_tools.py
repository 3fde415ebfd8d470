"""Toolboxes over real MCP servers, for the tests."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvloop
from langchain_core.messages import ToolMessage

from agent_service.contract import ToolServerHealth
from agent_service.definition import McpServer
from agent_service.runtimes.tools.timing import Timing
from agent_service.runtimes.tools.toolbox import Toolbox

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 40.0
SERVER = "tests.fixtures.mcp_server"


def stdio(name: str = "local", /, options: dict[str, Any] | None = None, **changes: Any) -> McpServer:
    """Our own test server, misbehaving as `options` say."""
    arguments = ["-m", SERVER, *([json.dumps(options)] if options else [])]
    environment = {"PYTHONPATH": str(ROOT), **changes.pop("env", {})}
    own = {"name": name, "transport": "stdio", "command": sys.executable, "args": arguments, "env": environment}
    return McpServer.model_validate({**own, **changes})


def stubborn() -> McpServer:
    """Our test server as the child of a shell, deaf to a closed stdin and to SIGTERM."""
    program = shlex.join([sys.executable, "-m", SERVER, json.dumps({"stubborn": True})])
    return stdio("stubborn", command="/bin/sh", args=["-c", f"trap : TERM; {program}; :"])


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario on the loop that adapters have."""

    async def whole() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await scenario()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


@asynccontextmanager
async def opened(*servers: McpServer, timing: Timing | None = None, settled: bool = True) -> AsyncIterator[Toolbox]:
    """A toolbox whose servers have been reached, unless `settled` is false."""
    toolbox = Toolbox(servers, lambda text: text, timing=timing)
    await toolbox.open()
    try:
        if settled:
            await toolbox.settled(DEADLINE_SECONDS)
        yield toolbox
    finally:
        await toolbox.close()


async def call(toolbox: Toolbox, name: str, /, **arguments: Any) -> ToolMessage:
    """What the model reads of a call."""
    tool = next(tool for tool in toolbox.tools() if tool.name == name)
    message = await tool.ainvoke({"type": "tool_call", "id": "call", "name": name, "args": arguments})
    assert isinstance(message, ToolMessage)
    return message


async def text(toolbox: Toolbox, name: str, /, **arguments: Any) -> str:
    """The text of a call that succeeds."""
    message = await call(toolbox, name, **arguments)
    assert message.status == "success", message.content
    return str(message.content)


def health(toolbox: Toolbox, name: str) -> ToolServerHealth:
    return next(server for server in toolbox.health() if server.name == name)


def names(toolbox: Toolbox) -> set[str]:
    return {tool.name for tool in toolbox.tools()}


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition that nothing announces."""
    deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen in time"
        await asyncio.sleep(0.01)


class WebServer:
    """The test server over HTTP or SSE, in a process of its own; it can be killed and started again at its port."""

    def __init__(self, kind: str, environment: dict[str, str] | None = None) -> None:
        self.kind = kind
        self.port = 0
        self._environment = environment or {}
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{'mcp' if self.kind == 'http' else 'sse'}"

    def definition(self, **changes: Any) -> McpServer:
        return McpServer.model_validate({"name": "web", "transport": self.kind, "url": self.url, **changes})

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{SERVER}.web", self.kind, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": str(ROOT), **self._environment},
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def web_server(kind: str, environment: dict[str, str] | None = None) -> Iterator[WebServer]:
    server = WebServer(kind, environment)
    try:
        yield server
    finally:
        server.kill()
