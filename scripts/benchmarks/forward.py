"""The manager as a proxy beside nginx, and beside a gateway in Python, before the same adapter.

The agent is a dummy; wrk, what is measured and the adapter share the machine's cores, as they would in use. The
manager runs as always: tokens, metrics and access log are on. nginx writes an access log too and buffers nothing,
since it is to pass streams on.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import NamedTuple

from scripts.benchmarks.client import HOST
from scripts.benchmarks.fleet import DUMMY, make_agents, until_healthy
from scripts.benchmarks.options import CannotMeasure, Options
from scripts.benchmarks.samples import Samples, goal, seconds, show
from scripts.benchmarks.systems.agent_manager import agent_manager, execute_path
from scripts.benchmarks.systems.litellm import litellm
from scripts.benchmarks.systems.nginx import nginx
from scripts.benchmarks.wrk import Load, Wrk

TOKEN = "benchmark"
SMALL, LARGE = 100, 100_000
_STREAM = b'{"parameters": {"stream": 3, "sleep_ms": 20}}'
_ROUND_SECONDS = 60.0


class Way(NamedTuple):
    """Where a task is handed in."""

    label: str
    port: int
    target: str


class Case(NamedTuple):
    """One load."""

    connections: int
    size: int

    def __str__(self) -> str:
        clients = "1 connection" if self.connections == 1 else f"{self.connections} connections"
        return f"{clients}, {self.size} bytes"


CASES = [Case(connections, size) for size in (SMALL, LARGE) for connections in (1, 32, 256)]


async def run(options: Options) -> None:
    """Load all ways in turns, case by case; then open streams one after the other."""
    rounds = options.repeat(7, 2)
    async with _ways(options) as (nginx_way, manager, gateway, direct):
        wrk = Wrk(options.directory("wrk"), token=TOKEN)
        measured = {}
        for case in CASES:
            ways = [nginx_way, manager, direct] if case != Case(32, SMALL) else [nginx_way, manager, direct, gateway]
            measured[case] = await _rounds(wrk, ways, case, rounds, options.size(5.0, 1.0))
            _show(case, ways, measured[case])
        _judge(measured)
        await _streams([nginx_way, manager, direct], options.size(200, 20))


@asynccontextmanager
async def _ways(options: Options) -> AsyncIterator[tuple[Way, Way, Way, Way]]:
    (agent,) = make_agents(1, DUMMY, autostart=True)
    async with AsyncExitStack() as stack:
        manager = await stack.enter_async_context(
            agent_manager(options.directory("agent-manager"), [agent], token=TOKEN)
        )
        await until_healthy([agent])
        nginx_port = await stack.enter_async_context(nginx(options.directory("nginx"), agent))
        gateway = await stack.enter_async_context(litellm(options.directory("litellm"), agent, token=TOKEN))
        yield (
            Way("nginx", nginx_port, "/execute"),
            Way("agent-manager", manager.port, execute_path(agent)),
            Way("LiteLLM's proxy", gateway, "/execute"),
            Way("nothing between", agent.port, "/execute"),
        )


async def _rounds(wrk: Wrk, ways: Sequence[Way], case: Case, rounds: int, length: float) -> list[list[Load]]:
    """For each way its rounds, in turns. One that is thrown away comes first."""
    measured: list[list[Load]] = [[] for _ in ways]
    for number in range(rounds + 1):
        for way, found in zip(ways, measured, strict=True):
            load = await wrk.run(
                way.port, way.target, connections=case.connections, size=case.size, seconds=length if number else 1.0
            )
            if number:
                found.append(load)
                print(f"{case}, round {number}, {way.label}: {load.rate:.0f}/s", file=sys.stderr)
    return measured


def _show(case: Case, ways: Sequence[Way], measured: Sequence[Sequence[Load]]) -> None:
    for field, (what, unit) in enumerate(
        (("requests per second", _rate), ("median answer", seconds), ("99th percentile", seconds))
    ):
        rows = [
            Samples(way.label, [load[field] for load in loads], unit) for way, loads in zip(ways, measured, strict=True)
        ]
        show(f"{case}: {what}", rows)


def _rate(value: float) -> str:
    return f"{value:,.0f}/s"


def _judge(measured: dict[Case, list[list[Load]]]) -> None:
    one, many = measured[Case(1, SMALL)], measured[Case(32, SMALL)]
    rate = _ratio(many, 0)
    goal("at 32 connections at least 0.85 of nginx's throughput", f"{rate:.2f}", met=rate >= 0.85)
    middle = _ratio(one, 1)
    goal("at 1 connection at most 1.5 times nginx's median", f"{middle:.2f}", met=middle <= 1.5)
    slow = _ratio(many, 2)
    goal("at 32 connections at most 1.5 times nginx's 99th percentile", f"{slow:.2f}", met=slow <= 1.5)


def _ratio(measured: Sequence[Sequence[Load]], field: int) -> float:
    """The manager's median to nginx's."""
    nginx_loads, manager_loads = (
        Samples("", [load[field] for load in loads], seconds).median for loads in measured[:2]
    )
    return manager_loads / nginx_loads


async def _streams(ways: Sequence[Way], times: int) -> None:
    measured: list[list[float]] = [[] for _ in ways]
    for _ in range(times):
        for way, found in zip(ways, measured, strict=True):
            async with asyncio.timeout(_ROUND_SECONDS):
                found.append(await _first_chunk(way))
    rows = [Samples(way.label, found, seconds) for way, found in zip(ways, measured, strict=True)]
    show("a stream, 1 connection: time to the first chunk, connecting included", rows)


async def _first_chunk(way: Way) -> float:
    before = perf_counter()
    reader, writer = await asyncio.open_connection(HOST, way.port)
    head = (
        f"POST {way.target} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(_STREAM)}\r\n"
        f"Accept: text/event-stream\r\nX-Manager-Token: {TOKEN}\r\n\r\n"
    )
    writer.write(head.encode() + _STREAM)
    try:
        await reader.readuntil(b"event: chunk")
        return perf_counter() - before
    except asyncio.IncompleteReadError as error:
        raise CannotMeasure(f"{way.label} did not stream: {error.partial!r}") from error
    finally:
        writer.close()
