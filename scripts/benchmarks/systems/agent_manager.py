"""agent-manager, with its default settings but for one: see `_config`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from scripts.benchmarks.client import ask, until_answered
from scripts.benchmarks.daemon import running
from scripts.benchmarks.fleet import Agent
from scripts.benchmarks.options import CannotMeasure
from scripts.benchmarks.ports import free_ports
from scripts.benchmarks.systems.system import CONTROL_EVERY, CONTROL_SECONDS


class AgentManager:
    """A manager that runs."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.port = port

    async def start(self, agents: Sequence[Agent]) -> None:
        """Start these, all at once. Raises `CannotMeasure`."""
        await asyncio.gather(*map(self._start, agents))

    async def _start(self, agent: Agent) -> None:
        answer = await ask(self.port, "POST", f"/api/agent-services/{agent.id}/action", {"action": "start"})
        if answer.status != 202:
            raise CannotMeasure(f"The manager refused to start {agent.id}: {answer.body.decode()}")


def execute_path(agent: Agent) -> str:
    """Where the manager takes tasks for the agent."""
    return f"/api/agent-services/{agent.id}/execute"


@asynccontextmanager
async def agent_manager(
    directory: Path, agents: Sequence[Agent], *, token: str | None = None, variables: Mapping[str, str] | None = None
) -> AsyncIterator[AgentManager]:
    """A manager of these agents; see `Opener`. With a `token` it demands that. `variables`: more environment."""
    (port,) = free_ports(1, besides=[agent.port for agent in agents])
    config = directory / "agents.config.json"
    config.write_text(json.dumps(_config(port, agents)), encoding="utf-8")
    told = {**(variables or {}), **({} if token is None else {"MANAGER_TOKEN": token})}
    environment = [f"{name}={value}" for name, value in told.items()]
    command = ("env", *environment, Path(sys.executable).parent / "agent-manager", "up", "--config", config)
    with running(command, directory / "output.log") as pid:
        await until_answered(port, "GET", "/ready", every=CONTROL_EVERY, seconds=CONTROL_SECONDS)
        yield AgentManager(pid, port)


def _config(port: int, agents: Sequence[Agent]) -> dict[str, Any]:
    return {
        "runtime": {
            "managerUrl": f"http://127.0.0.1:{port}",
            # So that kills two seconds apart are each a first crash, which supervisord and circus take them for, and
            # no crash loop, which those do not see.
            "restart": {"healthyAfterSeconds": 1, "maxCrashes": 1000},
        },
        "agents": [_agent(agent) for agent in agents],
    }


def _agent(agent: Agent) -> dict[str, Any]:
    entry = {"id": agent.id, "entryPoint": agent.entry_point, "port": agent.port, "autostart": agent.autostart}
    return entry if agent.definition is None else {**entry, "definition": agent.definition}
