"""One call of an MCP tool: over a session that is held open, beside a session for each call.

langchain-mcp-adapters opens one for each call unless it is told otherwise. The same echo over stdio, where a session is
a process (a small one of the standard library: most servers take ten times as long to start), and over streamable HTTP.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from langchain_core.tools import BaseTool
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools

from agent_service.definition import McpServer
from agent_service.runtimes.tools.toolbox import Toolbox
from scripts.benchmarks.options import ROOT, CannotMeasure, Options
from scripts.benchmarks.samples import Samples, goal, seconds, show

_SERVER = "tests.fixtures.mcp_server"
_GOAL = 10
_TEXT = "hello"


async def run(options: Options) -> None:
    """Call in every way over every transport, print a table for each."""
    environment = {"PYTHONPATH": str(ROOT)}
    over_stdio = {"command": sys.executable, "args": ["-m", _SERVER], "env": environment}
    rows = await _compare("stdio", over_stdio, options)
    ratio = rows[-1].median / rows[0].median
    goal(f"a held session at least {_GOAL} times as fast over stdio", f"{ratio:.0f} times", met=ratio >= _GOAL)
    with _http_server(environment) as url:
        await _compare("http", {"url": url}, options)


async def _compare(transport: str, address: dict[str, Any], options: Options) -> list[Samples]:
    held, anew = options.repeat(1000, 100), options.repeat(50, 5)
    client = MultiServerMCPClient({"server": {"transport": transport, **address}})  # type: ignore[dict-item]
    toolbox = Toolbox([McpServer.model_validate({"name": "server", "transport": transport, **address})], str)
    await toolbox.open()
    try:
        await toolbox.settled(60)
        rows = [await _measure("held open, ours", toolbox.tools(), held)]
    finally:
        await toolbox.close()
    async with client.session("server") as session:
        rows.append(await _measure("held open, langchain-mcp-adapters", await load_mcp_tools(session), held))
    rows.append(await _measure("one per call, langchain-mcp-adapters", await client.get_tools(), anew))
    show(f"a call over {transport}, session", rows)
    return rows


async def _measure(label: str, tools: list[BaseTool], runs: int) -> Samples:
    echo = next((tool for tool in tools if tool.name == "echo"), None)
    if echo is None or _TEXT not in str(await echo.ainvoke({"text": _TEXT})):
        raise CannotMeasure(f"The server's echo does not answer ({label}).")
    values = []
    for _ in range(runs):
        before = perf_counter()
        await echo.ainvoke({"text": _TEXT})
        values.append(perf_counter() - before)
    return Samples(label, values, seconds)


@contextmanager
def _http_server(environment: dict[str, str]) -> Iterator[str]:
    command = [sys.executable, "-m", f"{_SERVER}.web", "http", "0"]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
    finally:
        process.kill()
        process.communicate()
