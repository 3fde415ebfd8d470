"""How long until N LangGraph adapters answer: the manager beside supervisord and circus; and 100 dummies from cold.

Every system runs already, with one such agent ready, when the others are ordered; that is what warm means. Cold is
the time from the start of the manager's process. Ready: every adapter has answered GET /health.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from scripts.benchmarks import peers
from scripts.benchmarks.fleet import DUMMY, LANGGRAPH, make_agents, until_healthy
from scripts.benchmarks.options import Options
from scripts.benchmarks.samples import Samples, goal, seconds, show
from scripts.benchmarks.systems.agent_manager import agent_manager
from scripts.benchmarks.systems.all import SYSTEMS
from scripts.benchmarks.systems.system import Opener

_GOAL_RATIO = 40
_GOAL_COLD_SECONDS = 5

Measure = Callable[[Path], Awaitable[float]]


async def run(options: Options) -> None:
    """Measure all in turns, round by round, so that a busy moment of the machine hits each."""
    peers.install()
    count, dummies = options.size(50, 5), options.size(100, 10)
    warm: dict[str, Measure] = {name: _warm(opener, count) for name, opener in SYSTEMS.items()}
    cold: dict[str, Measure] = {
        f"{dummies} dummies": _cold(dummies, DUMMY),
        f"{count} LangGraph adapters": _cold(count, LANGGRAPH),
    }
    found = await _rounds(options, {**warm, **cold})
    rows = [Samples(name, found[name], seconds) for name in warm]
    show(f"{count} LangGraph adapters, warm", rows)
    ratio = rows[1].median / rows[0].median
    goal(f"at least {_GOAL_RATIO} times as fast as supervisord", f"{ratio:.1f} times", met=ratio >= _GOAL_RATIO)
    rows = [Samples(name, found[name], seconds) for name in cold]
    show("agent-manager, cold", rows)
    met = rows[0].median < _GOAL_COLD_SECONDS
    goal(f"{dummies} dummies in under {_GOAL_COLD_SECONDS} s", seconds(rows[0].median), met=met)


async def _rounds(options: Options, measures: dict[str, Measure]) -> dict[str, list[float]]:
    rounds = options.repeat(3, 1)
    found: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(1, rounds + 1):
        for name, measure in measures.items():
            value = await measure(options.directory(f"{number}-{name.replace(' ', '-')}"))
            found[name].append(value)
            print(f"Round {number} of {rounds}: {name} {seconds(value)}", file=sys.stderr)
    return found


def _warm(opener: Opener, count: int) -> Measure:
    async def measure(directory: Path) -> float:
        first, *others = make_agents(1 + count, LANGGRAPH)
        async with opener(directory, [replace(first, autostart=True), *others]) as system:
            await until_healthy([first])
            before = perf_counter()
            await system.start(others)
            await until_healthy(others)
            return perf_counter() - before

    return measure


def _cold(count: int, entry_point: str) -> Measure:
    async def measure(directory: Path) -> float:
        agents = make_agents(count, entry_point, autostart=True)
        before = perf_counter()
        async with agent_manager(directory, agents):
            await until_healthy(agents)
            return perf_counter() - before

    return measure
