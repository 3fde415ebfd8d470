"""What supervision takes while nothing happens: memory and CPU of the supervisor and of its adapters.

100 idle dummies, then 50 idle LangGraph adapters, under the manager, supervisord and circus. Where adapters are forked
by a process other than the manager, that one is shown too: its memory is part of the price.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field

from scripts.benchmarks import peers
from scripts.benchmarks.fleet import DUMMY, LANGGRAPH, make_agents, pid_of, until_healthy
from scripts.benchmarks.memory import cpu_percent, parents, pss, rss
from scripts.benchmarks.options import Options
from scripts.benchmarks.samples import Samples, goal, megabytes, percent, show
from scripts.benchmarks.systems.all import SYSTEMS

_SETTLE_SECONDS = 10.0
_GOAL_CPU_PERCENT = 2
_GOAL_RSS_BYTES = 80_000_000
_GOAL_PSS_BYTES = 15_000_000


@dataclass
class Idle:
    """One system's idle fleet: bytes of the supervisor, of each adapter and of other parents; percent of a core."""

    rss: list[float] = field(default_factory=list)
    pss: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    adapters_cpu: list[float] = field(default_factory=list)
    adapters_pss: list[float] = field(default_factory=list)
    parents_pss: list[float] = field(default_factory=list)


async def run(options: Options) -> None:
    """Measure each system with each kind of adapter, and print all side by side."""
    peers.install()
    for entry_point, kind, count in (
        (DUMMY, "dummies", options.fleet(100, 10)),
        (LANGGRAPH, "LangGraph adapters", options.fleet(50, 3)),
    ):
        found = {}
        for name in SYSTEMS:
            print(f"{name}: {count} {kind}", file=sys.stderr)
            found[name] = await _measure(options, name, entry_point, count)
        _show(f"{count} idle {kind}", found)
        _judge(f"{count} idle {kind}", found["agent-manager"], entry_point)


async def _measure(options: Options, name: str, entry_point: str, count: int) -> Idle:
    agents = make_agents(count, entry_point, autostart=True)
    found = Idle()
    async with SYSTEMS[name](options.directory(f"{name}-{entry_point.partition(':')[0]}"), agents) as system:
        await until_healthy(agents)
        await asyncio.sleep(options.size(_SETTLE_SECONDS, 2.0))
        pids = [await pid_of(agent) for agent in agents]
        for _ in range(options.repeat(3, 2)):
            cpu, adapters_cpu = await cpu_percent([[system.pid], pids], options.size(20.0, 3.0))
            found.cpu.append(cpu)
            found.adapters_cpu.append(adapters_cpu)
            found.rss.append(rss(system.pid))
            found.pss.append(pss(system.pid))
        found.adapters_pss = [pss(pid) for pid in pids]
        found.parents_pss = [pss(pid) for pid in parents(pids) - {system.pid}]
    return found


def _show(what: str, found: dict[str, Idle]) -> None:
    show(f"{what}: supervisor's RSS", [Samples(name, idle.rss, megabytes) for name, idle in found.items()])
    show(f"{what}: supervisor's PSS", [Samples(name, idle.pss, megabytes) for name, idle in found.items()])
    show(f"{what}: supervisor's CPU", [Samples(name, idle.cpu, percent) for name, idle in found.items()])
    show(f"{what}: all adapters' CPU", [Samples(name, idle.adapters_cpu, percent) for name, idle in found.items()])
    show(f"{what}: PSS per adapter", [Samples(name, idle.adapters_pss, megabytes) for name, idle in found.items()])
    if parents := [Samples(name, idle.parents_pss, megabytes) for name, idle in found.items() if idle.parents_pss]:
        show(f"{what}: PSS of what forked them", parents)


def _judge(what: str, idle: Idle, entry_point: str) -> None:
    if entry_point == LANGGRAPH:
        memory = Samples("", idle.adapters_pss, megabytes).median
        wanted = f"at most {megabytes(_GOAL_PSS_BYTES)} PSS per idle LangGraph adapter"
        goal(wanted, megabytes(memory), met=memory <= _GOAL_PSS_BYTES)
        return
    cpu, memory = Samples("", idle.cpu, percent).median, Samples("", idle.rss, megabytes).median
    goal(f"manager's CPU under {_GOAL_CPU_PERCENT} % with {what}", percent(cpu), met=cpu < _GOAL_CPU_PERCENT)
    wanted = f"manager's RSS at most {megabytes(_GOAL_RSS_BYTES)} with {what}"
    goal(wanted, megabytes(memory), met=memory <= _GOAL_RSS_BYTES)
