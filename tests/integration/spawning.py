"""Spawners of both kinds with what they need, and launches for them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_service.forkserver.address import connect, peer
from agent_service.http.listeners import PublicListeners
from agent_service.proc import read_stat
from manager.supervision.exec_spawner import ExecSpawner
from manager.supervision.fork_spawner import ForkSpawner
from manager.supervision.identity import fleet_of
from manager.supervision.process import Exit, Launch, Process, Spawner
from tests.fixtures.adapter import FakeManager

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 40.0
FOREVER = "import time; time.sleep(600)"
ENVIRON = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("AGENT_", "MANAGER_", "PYTHON"))},
    "LANG": "C.UTF-8",
    "PYTHONPATH": str(ROOT),
}
kinds = pytest.mark.parametrize(
    "kind",
    ["exec", pytest.param("fork", marks=pytest.mark.skipif(not ForkSpawner.available(), reason="no fork server here"))],
)


@dataclass
class Workshop:
    """One spawner and a directory; every process that it started ends with it."""

    spawner: Spawner
    directory: Path
    processes: list[Process] = field(default_factory=list)
    started: int = 0

    async def start(self, launch: Launch) -> Process:
        process = await self.spawner.spawn(launch)
        self.processes.append(process)
        return process

    async def run(self, code: str, *arguments: str, **changes: Any) -> Process:
        """A program of another kind than our adapter."""
        return await self.start(self.launch(sys.executable, "-c", code, *arguments, **changes))

    def launch(
        self, *argv: str, agent_id: str = "agent", environment: dict[str, str] | None = None, **changes: Any
    ) -> Launch:
        self.started += 1
        instance_id = f"{self.directory.name}.{os.getpid()}.{self.started}"
        return Launch(
            **{
                "agent_id": agent_id,
                "instance_id": instance_id,
                "argv": argv,
                "environment": {
                    **ENVIRON,
                    "AGENT_INSTANCE_ID": instance_id,
                    "AGENT_FLEET": fleet_of(self.directory / "state"),
                    **(environment or {}),
                },
                "directory": self.directory,
                "log_file": self.log_file,
                **changes,
            }
        )

    def adapter(self, manager: FakeManager | None = None, entry_point: str = "dummy", **changes: Any) -> Launch:
        """Our own adapter, which the manager has started."""
        agent_id = changes.get("agent_id", "agent")
        told = {
            "AGENT_ID": agent_id,
            "AGENT_PORT": "0",
            "AGENT_LOG_FILE": str(self.log_file),
            "AGENT_SPEC": json.dumps({"id": agent_id, "name": agent_id, "entryPoint": entry_point}),
            **({"AGENT_MANAGER_URL": manager.url} if manager else {}),
        }
        return self.launch(sys.executable, "-m", "agent_service", environment=told, **changes)

    @property
    def log_file(self) -> Path:
        return self.directory / "logs" / "agent.log"

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    async def says(self, text: str, count: int = 1) -> None:
        """Return when the log has that text so many times."""
        await until(lambda: self.log.count(text) >= count, lambda: f"{count} times {text!r} in the log:\n{self.log}")


@asynccontextmanager
async def workshop(kind: str, directory: Path) -> AsyncIterator[Workshop]:
    """`kind`: exec or fork."""
    shop = Workshop(make_spawner(kind, directory), directory)
    try:
        yield shop
    finally:
        for process in shop.processes:
            process.kill()
        if shop.processes:
            await asyncio.wait([process.exited for process in shop.processes], timeout=DEADLINE_SECONDS)
        await shop.spawner.aclose(leave_running=False)


def make_spawner(kind: str, directory: Path, environ: dict[str, str] = ENVIRON) -> Spawner:
    listeners = PublicListeners()
    by_exec = ExecSpawner(listeners, fleet_of(directory / "state"))
    if kind == "exec":
        return by_exec
    return ForkSpawner(directory / "state", directory / "logs", by_exec, listeners, environ)


def scenario(kind: str, directory: Path, run: Callable[[Workshop], Any]) -> None:
    """Run one scenario in an event loop of its own."""

    async def whole() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), workshop(kind, directory) as shop:
            await run(shop)

    asyncio.run(whole())


async def ended(process: Process) -> Exit:
    """How it ended; the wait leaves its future alone."""
    return await asyncio.wait_for(asyncio.shield(process.exited), DEADLINE_SECONDS)


async def until(condition: Callable[[], bool], what: Callable[[], str] | str) -> None:
    """Wait for a condition that nothing announces."""
    deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, what if isinstance(what, str) else what()
        await asyncio.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    stat = read_stat(pid)
    return stat is not None and stat.is_alive


def pid_at(path: Path) -> int:
    """The fork server that listens there. Raises OSError where none does."""
    connection = connect(path)
    try:
        return peer(connection).pid
    finally:
        connection.close()


async def registered(manager: FakeManager, launch: Launch) -> str:
    """The adapter's own URL, once it has registered."""
    body = await asyncio.to_thread(manager.wait_for, "register", lambda each: each["instanceId"] == launch.instance_id)
    return str(body["serviceUrl"])


def http(base_url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=base_url, timeout=DEADLINE_SECONDS, trust_env=False)
