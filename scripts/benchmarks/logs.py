"""One agent that writes its log without a pause, under each supervisor; and what a search over 1 GB takes.

Each supervisor rotates at 64 MiB and keeps five files: the manager by default, supervisord and circus told so. The
agent is asked directly. CPU is that of the supervisor alone.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from time import perf_counter

import psutil

from manager.telemetry.log_reading.query import LogQuery
from manager.telemetry.log_reading.reader import LogReader
from manager.telemetry.logs import AgentLogs
from scripts.benchmarks import peers
from scripts.benchmarks.client import ask, until_answered
from scripts.benchmarks.fleet import READY_SECONDS, Agent, make_agents
from scripts.benchmarks.options import CannotMeasure, Options
from scripts.benchmarks.samples import Samples, goal, percent, seconds, show
from scripts.benchmarks.systems.agent_manager import agent_manager
from scripts.benchmarks.systems.circus import circus
from scripts.benchmarks.systems.supervisord import supervisord
from scripts.benchmarks.systems.system import Opener
from scripts.benchmarks.tail import write_log

_SYSTEMS: dict[str, Opener] = {
    "agent-manager": agent_manager,
    "supervisord": supervisord,
    "circus": lambda directory, agents: circus(directory, agents, writes_logs=True),
}
_ENTRY_POINT = "scripts.benchmarks.log_flood:flood"
_GOAL_BYTES_PER_SECOND = 300e6
_GOAL_CPU_PERCENT = 5
_GOAL_TAIL_SECONDS = 0.005
_ABSENT = "no line says this"


async def run(options: Options) -> None:
    """Print throughput and CPU of each system, then how fast a log is read."""
    peers.install()
    rates, printed, loads = [], [], []
    for name, opener in _SYSTEMS.items():
        print(f"{name}: a flood of lines", file=sys.stderr)
        rate, by_print, load = await _flood(options, name, opener)
        rates.append(rate)
        printed.append(by_print)
        loads.append(load)
    show("written by one agent", rates)
    show("written by one agent through sys.stdout, where secrets are looked for", printed)
    show("supervisor's CPU meanwhile", loads)
    cpu = loads[0].median
    for what, ours in (("", rates[0]), (" through sys.stdout", printed[0])):
        goal(
            f"at least 300 MB/s from one agent{what}",
            ours.unit(ours.median),
            met=ours.median >= _GOAL_BYTES_PER_SECOND,
        )
    goal(f"under {_GOAL_CPU_PERCENT} % of a core", percent(cpu), met=cpu < _GOAL_CPU_PERCENT)
    await _read(options)


async def _flood(options: Options, name: str, opener: Opener) -> tuple[Samples, Samples, Samples]:
    """The rates to the descriptor and through `sys.stdout`, and the supervisor's CPU during both."""
    (agent,) = agents = make_agents(1, _ENTRY_POINT, autostart=True)
    size = options.size(2 * 10**9, 200 * 10**6)
    rates, printed, loads = [], [], []
    async with opener(options.directory(f"flood-{name}"), agents) as system:
        # Healthy is not ready: until then an execute gets 503.
        await until_answered(
            agent.port, "POST", "/execute", {"parameters": {"bytes": 0}}, every=0.1, seconds=READY_SECONDS
        )
        supervisor = psutil.Process(system.pid)
        for _ in range(options.repeat(5, 3)):
            before, began = sum(supervisor.cpu_times()[:2]), perf_counter()
            rates.append(size / await _write(agent, size))
            printed.append(size / await _write(agent, size, printed=True))
            # Another second, in which a supervisor that reads may catch up.
            await asyncio.sleep(1.0)
            loads.append(100 * (sum(supervisor.cpu_times()[:2]) - before) / (perf_counter() - began))
    return Samples(name, rates, _per_second), Samples(name, printed, _per_second), Samples(name, loads, percent)


async def _write(agent: Agent, size: int, *, printed: bool = False) -> float:
    answer = await ask(agent.port, "POST", "/execute", {"parameters": {"bytes": size, "printed": printed}})
    if answer.status != 200:
        raise CannotMeasure(f"The agent did not write: {answer.body.decode()}")
    return float(answer.json()["result"])


async def _read(options: Options) -> None:
    size = options.size(10**9, 10**8)
    directory = options.directory("reading")
    print(f"Writing {size / 1e6:.0f} MB", file=sys.stderr)
    write_log(directory / "agent.log", size)
    reader, query = LogReader(AgentLogs(directory)), LogQuery(agents=("agent",))
    runs = options.repeat(10, 5)
    tail = [await _page(reader, query) for _ in range(runs)]
    hit = [await _first(reader, replace(query, text="task done", order="oldest")) for _ in range(runs)]
    miss = [await _whole(reader, replace(query, text=_ABSENT)) for _ in range(3)]
    expression = [await _whole(reader, replace(query, regex=r"took \d{4,} ms for nothing")) for _ in range(3)]
    show(
        f"reading a log of {size / 1e6:.0f} MB",
        [
            Samples("the newest 200 entries", tail, seconds),
            Samples("the first hits of a search for a text", hit, seconds),
            Samples("a text that is nowhere", miss, seconds),
            Samples("a regular expression that is nowhere", expression, seconds),
        ],
    )
    found = Samples("", tail, seconds).median
    goal("the newest 200 lines in under 5 ms", seconds(found), met=found < _GOAL_TAIL_SECONDS)


async def _page(reader: LogReader, query: LogQuery) -> float:
    began = perf_counter()
    await reader.page(query)
    return perf_counter() - began


async def _first(reader: LogReader, query: LogQuery) -> float:
    began = perf_counter()
    await anext(aiter(reader.search(query)))
    return perf_counter() - began


async def _whole(reader: LogReader, query: LogQuery) -> float:
    began = perf_counter()
    async for page in reader.search(query):
        if page.entries:
            raise CannotMeasure("The log has a line that was not to be in it.")
    return perf_counter() - began


def _per_second(value: float) -> str:
    return f"{value / 1e6:.0f} MB/s"
