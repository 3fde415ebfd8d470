"""What one look at a big fleet takes: the listing, the metrics and the dashboard's data, with 200 idle dummies.

Each is asked for over HTTP on a fresh connection, one at a time. The time is what a client waits; the metrics' has the
scrapes of all adapters in it. The CPU is the manager's, per call, less what it takes when nobody asks.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

import psutil

from scripts.benchmarks.client import ask
from scripts.benchmarks.fleet import DUMMY, make_agents, until_healthy
from scripts.benchmarks.memory import cpu_percent, pss, rss
from scripts.benchmarks.options import CannotMeasure, Options
from scripts.benchmarks.samples import Samples, megabytes, percent, seconds, show
from scripts.benchmarks.systems.agent_manager import agent_manager

_LOOKS = {"listing": "/api/agent-services", "metrics": "/metrics", "dashboard's data": "/ui/fleet?view=fleet"}
_SETTLE_SECONDS = 10.0


async def run(options: Options) -> None:
    """Measure each way to look, then the idle manager."""
    count = options.fleet(200, 20)
    agents = make_agents(count, DUMMY, autostart=True)
    async with agent_manager(options.directory("scale"), agents) as manager:
        await until_healthy(agents)
        await asyncio.sleep(options.size(_SETTLE_SECONDS, 2.0))
        (idle,) = await cpu_percent([[manager.pid]], options.size(20.0, 3.0))
        waits, costs = [], []
        for name, path in _LOOKS.items():
            waited, cost = await _look(manager.port, manager.pid, path, options.repeat(50, 5), idle)
            waits.append(Samples(name, waited, seconds))
            costs.append(Samples(name, [cost], seconds))
        show(f"{count} agents: a client waits", waits)
        show(f"{count} agents: manager's CPU per call", costs)
        show(f"{count} agents: manager's CPU, nobody asks", [Samples("idle", [idle], percent)])
        memory = [Samples("RSS", [rss(manager.pid)], megabytes), Samples("PSS", [pss(manager.pid)], megabytes)]
        show(f"{count} agents: manager's memory", memory)


async def _look(port: int, pid: int, path: str, runs: int, idle: float) -> tuple[list[float], float]:
    """Seconds that each call took, and the CPU seconds of the manager per call."""
    process, waited = psutil.Process(pid), []
    before, began = sum(process.cpu_times()[:2]), perf_counter()
    for _ in range(runs):
        asked = perf_counter()
        answer = await ask(port, "GET", path)
        waited.append(perf_counter() - asked)
        if answer.status != 200:
            raise CannotMeasure(f"GET {path} was answered with {answer.status}: {answer.body.decode()}")
    taken = sum(process.cpu_times()[:2]) - before - idle / 100 * (perf_counter() - began)
    return waited, max(0.0, taken) / runs
