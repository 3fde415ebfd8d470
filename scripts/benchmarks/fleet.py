"""The agents that every system under test runs, and when they are ready."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scripts.benchmarks.client import ask, until_answered
from scripts.benchmarks.ports import free_ports

DUMMY = "dummy"
# A real graph: its adapter imports LangGraph.
LANGGRAPH = "agent_service.examples.planner:graph"
# An agent from data, which has a definition besides.
REACT = "react"

READY_SECONDS = 300.0
# Rare enough that asking fifty agents costs few percent of a core.
_READY_EVERY = 0.05


@dataclass(frozen=True)
class Agent:
    """One agent at a port of its own. `autostart`: with its system, else by `System.start`."""

    id: str
    entry_point: str
    port: int
    autostart: bool = False
    definition: dict[str, Any] | None = None

    @property
    def adapter(self) -> tuple[str, ...]:
        """The command that serves it."""
        options = ("--id", self.id, "--entry-point", self.entry_point, "--port", str(self.port))
        return (sys.executable, "-m", "agent_service", *options)


def make_agents(
    count: int, entry_point: str, *, autostart: bool = False, definition: dict[str, Any] | None = None
) -> list[Agent]:
    """So many agents, at free ports."""
    ports = enumerate(free_ports(count), 1)
    return [Agent(f"agent-{number:03}", entry_point, port, autostart, definition) for number, port in ports]


async def until_healthy(agents: Sequence[Agent], *, every: float = _READY_EVERY) -> None:
    """Return once every one answers GET /health. Raises `CannotMeasure`."""
    asked = (until_answered(agent.port, "GET", "/health", every=every, seconds=READY_SECONDS) for agent in agents)
    await asyncio.gather(*asked)


async def pid_of(agent: Agent) -> int:
    """The process that serves it, as itself says."""
    answer = await ask(agent.port, "GET", "/info")
    return int(answer.json()["pid"])
