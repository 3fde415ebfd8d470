"""The public MCP servers that others wrote, in Python and in TypeScript, over stdio, streamable HTTP and SSE."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from agent_service.contract import ToolServerState
from agent_service.definition import McpServer
from agent_service.runtimes.tools.timing import Timing
from tests.integration.mcp_tools import ROOT, call, health, names, opened, run, text, until

pytestmark = [pytest.mark.full, pytest.mark.timeout(180)]

INSTALLED = ROOT / ".venv" / "mcp-servers"
EVERYTHING = INSTALLED / "node_modules" / ".bin" / "mcp-server-everything"
FILESYSTEM = INSTALLED / "node_modules" / ".bin" / "mcp-server-filesystem"


def program(name: str, path: Path, *arguments: str) -> McpServer:
    return McpServer(name=name, transport="stdio", command=str(path), args=list(arguments))


@contextmanager
def everything(kind: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PORT": str(port)}
    process = subprocess.Popen(
        [EVERYTHING, kind], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_all_four_serve_one_agent_over_stdio_and_end_with_it(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (tmp_path / "note.txt").write_text("remember the milk")
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    (repository / "new.txt").write_text("x")

    others = set(psutil.Process().children())

    def servers() -> set[psutil.Process]:
        return set(psutil.Process().children()) - others

    async def scenario() -> None:
        async with opened(
            program("time", INSTALLED / "bin" / "mcp-server-time"),
            program("git", INSTALLED / "bin" / "mcp-server-git"),
            program("everything", EVERYTHING),
            program("files", FILESYSTEM, str(tmp_path)),
        ) as toolbox:
            assert [(server.name, server.state) for server in toolbox.health()] == [
                (name, ToolServerState.READY) for name in ("time", "git", "everything", "files")
            ], toolbox.health()
            assert all(server.warnings == [] for server in toolbox.health())
            assert json.loads(await text(toolbox, "get_current_time", timezone="Asia/Tokyo"))["is_dst"] is False
            assert (await call(toolbox, "convert_time")).status == "error"
            assert "new.txt" in await text(toolbox, "git_status", repo_path=str(repository))
            assert await text(toolbox, "get-sum", a=20, b=22) == "The sum of 20 and 22 is 42."
            weather = await call(toolbox, "get-structured-content", location="Chicago")
            assert set(weather.artifact["structured_content"]) == {"temperature", "conditions", "humidity"}
            picture = await call(toolbox, "get-tiny-image")
            assert any(isinstance(block, dict) and block["type"] == "image" for block in picture.content)
            assert await text(toolbox, "read_text_file", path=str(tmp_path / "note.txt")) == "remember the milk"
            outside = await call(toolbox, "read_text_file", path="/etc/hostname")
            assert outside.status == "error" and "Access denied" in str(outside.content)
            assert len(servers()) >= 4
        await until(lambda: not servers(), "the end of every server")

    run(scenario)


def test_a_long_operation_reports_progress_is_cancelled_and_leaves_the_session_usable() -> None:
    async def scenario() -> None:
        async with opened(program("everything", EVERYTHING)) as toolbox:
            assert "completed" in await text(toolbox, "trigger-long-running-operation", duration=1, steps=5)
            long = asyncio.create_task(call(toolbox, "trigger-long-running-operation", duration=60, steps=60))
            await asyncio.sleep(0.5)
            long.cancel()
            with pytest.raises(asyncio.CancelledError):
                await long
            assert await text(toolbox, "echo", message="still here") == "Echo: still here"
            assert health(toolbox, "everything").reconnects == 0

    run(scenario)


@pytest.mark.parametrize(("kind", "transport", "path"), [("streamableHttp", "http", "mcp"), ("sse", "sse", "sse")])
def test_everything_over_http_survives_its_own_restart(kind: str, transport: str, path: str) -> None:
    port = free_port()
    server = McpServer.model_validate(
        {"name": "everything", "transport": transport, "url": f"http://127.0.0.1:{port}/{path}"}
    )
    timing = Timing(ping_interval=0.5, ping=2, first_backoff=0.05, longest_backoff=0.5, stable=0)

    async def scenario() -> None:
        async with opened(server, timing=timing) as toolbox:
            with everything(kind, port):
                await until(lambda: health(toolbox, "everything").state is ToolServerState.READY, "the connection")
                assert await text(toolbox, "get-sum", a=1, b=2) == "The sum of 1 and 2 is 3."
                answers = [text(toolbox, "echo", message=str(n)) for n in range(20)]
                assert await asyncio.gather(*answers) == [f"Echo: {n}" for n in range(20)]
            await until(lambda: health(toolbox, "everything").state is ToolServerState.UNAVAILABLE, "the loss")
            assert names(toolbox) == set()
            with everything(kind, port):
                await until(lambda: health(toolbox, "everything").state is ToolServerState.READY, "the return")
                assert await text(toolbox, "echo", message="again") == "Echo: again"

    run(scenario)
