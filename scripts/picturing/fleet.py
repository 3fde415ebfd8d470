"""A fleet with something to see: most of it works, one agent fails now and then, one cannot start."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

_PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class Pictured:
    """An agent of the pictures. `sleep_ms`: how long its tasks take; without, it gets none."""

    id: str
    name: str
    description: str
    sleep_ms: tuple[int, int] | None = None
    failing: float = 0.0
    clients: int = 1
    config: dict[str, Any] = field(default_factory=dict)

    def to_config(self) -> dict[str, Any]:
        """Its entry in the config file."""
        return {"id": self.id, "name": self.name, "description": self.description, **self.config}


FLEET = (
    Pictured("planner", "PlannerAgent", "Turns a goal into steps.", (40, 400), clients=2),
    Pictured("executor", "ExecutorAgent", "Runs the steps of a plan.", (200, 1_500), clients=3, failing=0.02),
    Pictured("echo", "EchoAgent", "Answers what it was sent.", (2, 30), clients=2),
    Pictured(
        "researcher",
        "ResearchAgent",
        "Reads, and sums up what it has read.",
        (2_000, 9_000),
        clients=6,
        config={"instances": 3, "maxConcurrency": 1},
    ),
    Pictured("mailer", "MailAgent", "Writes letters and sends them.", (300, 900), failing=0.15),
    Pictured("billing", "BillingAgent", "Makes out invoices.", config={"entryPoint": "billing.agent:graph"}),
    Pictured("archivist", "ArchiveAgent", "Files what is done.", config={"autostart": False}),
    Pictured("reviewer", "ReviewAgent", "Looks over what the others write."),
)
PAUSED = "reviewer"


async def work(client: httpx.AsyncClient, until: Callable[[], bool]) -> None:
    """Send the fleet its tasks until that is so."""
    await asyncio.gather(*(_ask(client, agent, until) for agent in FLEET for _ in range(agent.clients)))


async def _ask(client: httpx.AsyncClient, agent: Pictured, until: Callable[[], bool]) -> None:
    chance = random.Random(agent.id)
    while agent.sleep_ms is not None and not until():
        parameters: dict[str, Any] = {"goal": "a report", "sleep_ms": chance.randint(*agent.sleep_ms)}
        if chance.random() < agent.failing:
            parameters["fail"] = "The mail server did not answer."
        await client.post(f"/api/agent-services/{agent.id}/execute", json={"parameters": parameters})
        await asyncio.sleep(chance.random() * _PAUSE_SECONDS)
