"""What the manager's forwarding costs: an execute through it beside the same one at the adapter itself.

The agent is a dummy. The client, the manager and the adapter share the machine's cores, as they would in use.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median, quantiles
from time import perf_counter
from typing import NamedTuple

from scripts.benchmarks.client import Connection, connect
from scripts.benchmarks.fleet import DUMMY, make_agents, until_healthy
from scripts.benchmarks.options import CannotMeasure, Options
from scripts.benchmarks.samples import Samples, seconds, show
from scripts.benchmarks.systems.agent_manager import agent_manager, execute_path

CLIENTS = 32
_ROUND_SECONDS = 300.0
# What the fields of `Round` are called.
_COLUMNS = ("median answer", "99th percentile", "time per request")


class Way(NamedTuple):
    """Where a task is handed in."""

    label: str
    port: int
    target: str


class Round(NamedTuple):
    """What one round of requests came to, in seconds: of the answers the middle and the 99th percentile, and all."""

    middle: float
    slow: float
    per_request: float


async def run(options: Options) -> None:
    """Ask both ways in turns, first one request at a time, then from many clients at once."""
    rounds = options.repeat(10, 3)
    (agent,) = make_agents(1, DUMMY, autostart=True)
    async with agent_manager(options.directory("agent-manager"), [agent]) as manager:
        await until_healthy([agent])
        ways = (
            Way("the adapter itself", agent.port, "/execute"),
            Way("through the manager", manager.port, execute_path(agent)),
        )
        for clients, requests in ((1, options.size(2000, 200)), (CLIENTS, options.size(200, 20))):
            measured = await _rounds(ways, rounds, clients, requests)
            _show(clients, ways, measured)


async def _rounds(ways: Sequence[Way], rounds: int, clients: int, requests: int) -> list[list[Round]]:
    """For each way its rounds. One that is thrown away comes first."""
    measured: list[list[Round]] = [[] for _ in ways]
    for number in range(rounds + 1):
        for way, found in zip(ways, measured, strict=True):
            result = await _round(way, clients, requests)
            if number:
                found.append(result)
                print(f"{_who(clients)}, round {number}, {way.label}: {seconds(result.middle)}", file=sys.stderr)
    return measured


async def _round(way: Way, clients: int, requests: int) -> Round:
    async with AsyncExitStack() as stack, asyncio.timeout(_ROUND_SECONDS):
        connections = [await connect(way.port) for _ in range(clients)]
        for connection in connections:
            stack.callback(connection.close)
        before = perf_counter()
        found = await asyncio.gather(*(_client(connection, way.target, requests) for connection in connections))
        elapsed = perf_counter() - before
    times = [each for times in found for each in times]
    return Round(median(times), quantiles(times, n=100)[-1], elapsed / len(times))


async def _client(connection: Connection, target: str, requests: int) -> list[float]:
    times = []
    for number in range(requests):
        before = perf_counter()
        answer = await connection.request("POST", target, {"parameters": {"number": number}})
        times.append(perf_counter() - before)
        if answer.status != 200:
            raise CannotMeasure(f"POST {target} was answered with {answer.status}: {answer.body.decode()}")
    return times


def _show(clients: int, ways: Sequence[Way], measured: Sequence[Sequence[Round]]) -> None:
    # One client's time per request is that of its answers.
    for field, what in enumerate(_COLUMNS[:2] if clients == 1 else _COLUMNS):
        rows = [
            Samples(way.label, [each[field] for each in rounds], seconds)
            for way, rounds in zip(ways, measured, strict=True)
        ]
        show(f"{_who(clients)}: {what}", rows)


def _who(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients at once"
