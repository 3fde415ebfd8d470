"""What 5,000 agents' signs of life cost the manager, and how a registration storm after its death settles.

Each simulated agent has a connection of its own, registers, and beats every 5 s as adapters do: told 404 it registers
again. The peer is the least that Starlette and pydantic make of a register with a time to live, under uvicorn.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

from scripts.benchmarks.client import Connection, connect, until_answered
from scripts.benchmarks.daemon import running
from scripts.benchmarks.memory import cpu_percent
from scripts.benchmarks.options import CannotMeasure, Options
from scripts.benchmarks.ports import free_ports
from scripts.benchmarks.samples import Samples, goal, percent, seconds, show
from scripts.benchmarks.systems.system import CONTROL_EVERY, CONTROL_SECONDS

_INTERVAL_SECONDS = 5.0
_STORM_SECONDS = 30.0
_WINDOW_SECONDS = 30.0
_GOAL_CPU_PERCENT = 50
_PATH = "/api/agent-services"


class SimulatedAgent:
    """One instance that registers and beats for as long as its task lives. `acknowledged`: its newest answer."""

    def __init__(self, number: int, port: int) -> None:
        self._identity = {"id": f"agent-{number}", "instanceId": f"instance-{number}"}
        self._address = {"serviceUrl": f"http://127.0.0.1:{1024 + number}", "metadata": {"name": f"Agent {number}"}}
        self._port = port
        self._connection: Connection | None = None
        self.acknowledged = 0.0

    async def live(self) -> None:
        """Register at once, then beat."""
        what = "register"
        while True:
            status = await self._tell(what)
            if status == 200:
                self.acknowledged = perf_counter()
                what = "heartbeat"
                await asyncio.sleep(_INTERVAL_SECONDS * random.uniform(0.95, 1.05))
            elif status == 404:
                what = "register"
            else:
                await asyncio.sleep(random.uniform(0.5, 1.5))

    async def _tell(self, what: str) -> int | None:
        body = {**self._identity, **(self._address if what == "register" else {"status": "running"})}
        try:
            if self._connection is None:
                self._connection = await connect(self._port)
            return (await self._connection.request("POST", f"{_PATH}/{what}", body)).status
        except OSError:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return None


async def run(options: Options) -> None:
    """Measure both registers and print them side by side."""
    count = options.fleet(5000, 200)
    ours = [options.directory(f"manager-{number}") for number in range(options.repeat(3, 1))]
    managers = [await _manager(options, directory, count) for directory in ours]
    peers = [await _peer(options, count) for _ in range(options.repeat(3, 1))]
    both = (("agent-manager", managers), ("bare Starlette and pydantic", peers))
    show(f"{count} agents register at once", [Samples(name, [f[0] for f in found], seconds) for name, found in both])
    show(f"{count} agents beat: CPU", [Samples(name, [f[1] for f in found], percent) for name, found in both])
    storms = [storm for _, _, storm, _ in managers]
    show("all are registered again after kill -9 and a start", [Samples("agent-manager", storms, seconds)])
    missed = sum(number for *_, number in managers)
    cpu = Samples("", [found[1] for found in managers], percent).median
    goal(f"under {_GOAL_CPU_PERCENT} % of a core for {count} agents", percent(cpu), met=cpu < _GOAL_CPU_PERCENT)
    goal("no heartbeat missed, in a storm or not", f"{missed} missed", met=missed == 0)


async def _manager(options: Options, directory: Path, count: int) -> tuple[float, float, float, int]:
    (port,) = free_ports(1)
    config = directory / "agents.config.json"
    config.write_text(json.dumps({"runtime": {"managerUrl": f"http://127.0.0.1:{port}"}, "agents": []}))
    command = (Path(sys.executable).parent / "agent-manager", "up", "--config", config)
    async with _simulated(count, port) as (agents, start):
        with running(command, directory / "output.log") as pid:
            await _until_ready(port)
            registered, cpu = await _measure(options, agents, start, pid)
        died = perf_counter()
        with running(command, directory / "output.log"):
            await _until_ready(port)
            await _until_acknowledged(agents, died)
            storm = perf_counter() - died
            await asyncio.sleep(options.size(_STORM_SECONDS, 2.0))
    return registered, cpu, storm, _missed(directory)


async def _peer(options: Options, count: int) -> tuple[float, float]:
    (port,) = free_ports(1)
    command = (sys.executable, "-m", "scripts.benchmarks.ttl_register", str(port))
    async with _simulated(count, port) as (agents, start):
        with running(command, options.scratch / "peer.log") as pid:
            await _until_ready(port)
            return await _measure(options, agents, start, pid)


async def _measure(
    options: Options, agents: Sequence[SimulatedAgent], start: asyncio.Event, pid: int
) -> tuple[float, float]:
    began = perf_counter()
    start.set()
    await _until_acknowledged(agents, began)
    registered = perf_counter() - began
    # The storm of the first registrations is over, and the beats have spread.
    await asyncio.sleep(options.size(2 * _INTERVAL_SECONDS, 1.0))
    (cpu,) = await cpu_percent([[pid]], options.size(_WINDOW_SECONDS, 5.0))
    return registered, cpu


@asynccontextmanager
async def _simulated(count: int, port: int) -> AsyncIterator[tuple[list[SimulatedAgent], asyncio.Event]]:
    """Agents that begin when the event is set."""
    agents, start = [SimulatedAgent(number, port) for number in range(count)], asyncio.Event()

    async def begin(agent: SimulatedAgent) -> None:
        await start.wait()
        await agent.live()

    tasks = [asyncio.create_task(begin(agent)) for agent in agents]
    try:
        yield agents, start
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_ready(port: int) -> None:
    await until_answered(port, "GET", "/ready", every=CONTROL_EVERY, seconds=CONTROL_SECONDS)


async def _until_acknowledged(agents: Sequence[SimulatedAgent], since: float) -> None:
    until = perf_counter() + 2 * _STORM_SECONDS
    while left := sum(agent.acknowledged < since for agent in agents):
        if perf_counter() > until:
            raise CannotMeasure(f"{left} of {len(agents)} agents could not register.")
        await asyncio.sleep(0.05)


def _missed(directory: Path) -> int:
    with sqlite3.connect(directory / ".state" / "manager.db") as db:
        return int(db.execute("SELECT count(*) FROM events WHERE kind = 'heartbeat_missed'").fetchone()[0])
