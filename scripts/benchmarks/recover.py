"""From the kill -9 of a LangGraph adapter until work is answered again, beside supervisord and circus.

Of the manager: until an execute through it succeeds. Of the peers, which forward nothing: until the restarted adapter
answers GET /health; of the manager that too. Kills come at random moments: supervisord and circus look now and then.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter

from scripts.benchmarks import peers
from scripts.benchmarks.client import until_answered
from scripts.benchmarks.fleet import LANGGRAPH, READY_SECONDS, Agent, make_agents, pid_of, until_healthy
from scripts.benchmarks.options import CannotMeasure, Options
from scripts.benchmarks.samples import Samples, goal, seconds, show
from scripts.benchmarks.systems.agent_manager import AgentManager, agent_manager, execute_path
from scripts.benchmarks.systems.all import SYSTEMS
from scripts.benchmarks.systems.system import Opener, System

_GOAL_SECONDS = 0.120
_EVERY = 0.002
_DEATH_SECONDS = 10.0
# At least two seconds, for a process that lived for one is no failed start to any of the three; and over the whole of
# circus's check interval, which is five.
_PAUSE_SECONDS = (2.0, 7.0)

# Returns when the agent's work is done again.
Recovery = Callable[[System, Agent], Awaitable[object]]


async def run(options: Options) -> None:
    """Kill each system's one agent again and again, print how long each took."""
    peers.install()
    kills = options.repeat(20, 3)
    rows = [await _measure(options, "agent-manager, execute succeeds", agent_manager, _executed, kills)]
    for name, opener in SYSTEMS.items():
        rows.append(await _measure(options, f"{name}, /health answers", opener, _healthy, kills))
    show("kill -9 of a LangGraph adapter", rows)
    found = rows[0].median
    goal(f"median at most {seconds(_GOAL_SECONDS)}", seconds(found), met=found <= _GOAL_SECONDS)


async def _measure(options: Options, label: str, opener: Opener, recovery: Recovery, kills: int) -> Samples:
    (agent,) = make_agents(1, LANGGRAPH, autostart=True)
    values = []
    async with opener(options.directory(label.replace("/", "").replace(" ", "-")), [agent]) as system:
        await until_healthy([agent])
        for number in range(1, kills + 1):
            await asyncio.sleep(random.uniform(*_PAUSE_SECONDS))
            before = perf_counter()
            await _kill(await pid_of(agent))
            await recovery(system, agent)
            values.append(perf_counter() - before)
            print(f"Kill {number} of {kills}: {label} {seconds(values[-1])}", file=sys.stderr)
    return Samples(label, values, seconds)


async def _kill(pid: int) -> None:
    """Return once the process is dead: until then it may still answer."""
    descriptor = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        dead, _, _ = await asyncio.to_thread(select.select, [descriptor], [], [], _DEATH_SECONDS)
    finally:
        os.close(descriptor)
    if not dead:
        raise CannotMeasure(f"Process {pid} has not ended {_DEATH_SECONDS:g} s after SIGKILL.")


async def _executed(system: System, agent: Agent) -> None:
    assert isinstance(system, AgentManager)
    task = {"parameters": {"goal": "Buy milk, then call Ann"}}
    await until_answered(system.port, "POST", execute_path(agent), task, every=_EVERY, seconds=READY_SECONDS)


async def _healthy(_: System, agent: Agent) -> None:
    await until_healthy([agent], every=_EVERY)
