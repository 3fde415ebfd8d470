"""What traces cost: an execute without an endpoint, one with it that is sampled out, and one that is recorded.

Three managers, each with a dummy and an agent from data that calls its scripted model once; asked in turns, one request
at a time. CPU time of the manager's and of the adapter's process, for one request; the endpoint takes everything.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from scripts.benchmarks.client import HOST, connect
from scripts.benchmarks.fleet import DUMMY, REACT, Agent, make_agents, pid_of, until_healthy
from scripts.benchmarks.options import CannotMeasure, Options
from scripts.benchmarks.samples import Samples, megabytes, seconds, show
from scripts.benchmarks.systems.agent_manager import AgentManager, agent_manager, execute_path

_DEFINITION = {
    "behavior": {"model_parameters": {"provider": "scripted", "model": "script", "script": ["Here it is."]}},
}
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"


class Way(NamedTuple):
    """One manager and its two agents."""

    label: str
    manager: AgentManager
    agents: tuple[Agent, Agent]


async def run(options: Options) -> None:
    """Ask all three in turns, agent by agent, then look at what an adapter takes."""
    rounds, requests = options.repeat(15, 3), options.size(300, 100)
    async with _endpoint() as url, _ways(options, url) as ways:
        for number, what in enumerate(("a dummy", "an agent from data")):
            managers: list[list[float]] = [[] for _ in ways]
            adapters: list[list[float]] = [[] for _ in ways]
            for turn in range(rounds + 1):
                for way, manager, adapter in zip(ways, managers, adapters, strict=True):
                    spent = await _round(way, way.agents[number], requests)
                    if turn:
                        manager.append(spent[0])
                        adapter.append(spent[1])
                print(f"{what}, round {turn}", file=sys.stderr)
            for process, found in (("manager", managers), ("adapter", adapters)):
                rows = [Samples(way.label, values, seconds) for way, values in zip(ways, found, strict=True)]
                show(f"{what}: CPU time of the {process} for one request", rows)
        for number, what in enumerate(("dummy's", "agent-from-data's")):
            sizes = [Samples(way.label, [await _memory(way.agents[number])], megabytes) for way in ways]
            show(f"memory of the {what} adapter that nobody else shares", sizes)


@asynccontextmanager
async def _ways(options: Options, url: str) -> AsyncIterator[list[Way]]:
    sampled_out = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_TRACES_SAMPLER": "always_off"}
    environments: dict[str, dict[str, str]] = {
        "no endpoint": {},
        "sampled out": sampled_out,
        "recorded": {"OTEL_EXPORTER_OTLP_ENDPOINT": url},
    }
    async with AsyncExitStack() as stack:
        yield [
            await _opened(stack, options, number, label, variables)
            for number, (label, variables) in enumerate(environments.items())
        ]


async def _opened(
    stack: AsyncExitStack, options: Options, number: int, label: str, variables: Mapping[str, str]
) -> Way:
    (dummy,) = make_agents(1, DUMMY, autostart=True)
    (data,) = make_agents(1, REACT, autostart=True, definition=_DEFINITION)
    agents = dummy, Agent("data", REACT, data.port, autostart=True, definition=_DEFINITION)
    directory = options.directory(f"agent-manager-{number}")
    manager = await stack.enter_async_context(agent_manager(directory, agents, variables=variables))
    await until_healthy(agents)
    return Way(label, manager, agents)


async def _round(way: Way, agent: Agent, requests: int) -> tuple[float, float]:
    """Seconds of CPU time for one request, of the manager and of the adapter."""
    processes = way.manager.pid, await pid_of(agent)
    connection = await connect(way.manager.port)
    try:
        before = [_cpu(pid) for pid in processes]
        for _ in range(requests):
            answer = await connection.request("POST", execute_path(agent), {"parameters": {"input": "Look."}})
            if answer.status != 200:
                raise CannotMeasure(f"An execute was answered with {answer.status}: {answer.body.decode()}")
        manager, adapter = (_cpu(pid) - spent for pid, spent in zip(processes, before, strict=True))
    finally:
        connection.close()
    return manager / requests, adapter / requests


def _cpu(pid: int) -> float:
    """Of all threads, which live as long as the process; what the kernel tells of processes comes in steps of 10 ms."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text(encoding="ascii").split()[0]) for thread in threads) / 1e9


async def _memory(agent: Agent) -> float:
    return float(psutil.Process(await pid_of(agent)).memory_full_info().uss)


@asynccontextmanager
async def _endpoint() -> AsyncIterator[str]:
    """Takes every export and looks at none."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(_ANSWER)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
