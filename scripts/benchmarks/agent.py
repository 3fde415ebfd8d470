"""What an agent from data costs beside LangChain's own in one's own process: a turn, and a start.

The model is scripted, so that a turn is nothing but overhead: the same `create_agent` graph called in process, our
runtime around it, the adapter over HTTP, and the manager before that. A start is from the order to the first answer to
GET /health: forked by a warm fork server, beside `python -m agent_service` on its own. `tools` measures tool calls.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage

from agent_service.definition import AgentDefinition
from agent_service.runtimes.react.models import build_model
from agent_service.runtimes.react.runtime import ReactRuntime
from agent_service.runtimes.tools.secrets import Secrets
from agent_service.runtimes.tools.toolbox import Toolbox
from scripts.benchmarks.client import Connection, connect
from scripts.benchmarks.daemon import running
from scripts.benchmarks.fleet import REACT, Agent, make_agents, until_healthy
from scripts.benchmarks.options import CannotMeasure, Options
from scripts.benchmarks.samples import Samples, seconds, show
from scripts.benchmarks.systems.agent_manager import AgentManager, agent_manager, execute_path

_ANSWER = "It is done."
_DEFINITION = {
    "behavior": {
        "system_prompt": "Be brief.",
        "model_parameters": {"provider": "scripted", "model": "script", "script": [_ANSWER]},
    }
}
_INPUT = "Do it."
_EVERY = 0.005

Turn = Callable[[], Awaitable[str]]


async def run(options: Options) -> None:
    """Measure turns in turns, so that a busy moment of the machine hits each way, then starts."""
    count = options.repeat(10, 2)
    first, *others = make_agents(1 + count, REACT, definition=_DEFINITION)
    async with agent_manager(options.directory("agent-manager"), [replace(first, autostart=True), *others]) as manager:
        await until_healthy([first])
        await _turns(options, manager, first)
        forked = [await _forked(manager, agent) for agent in others]
    definition = options.directory("alone") / "definition.json"
    definition.write_text(json.dumps(_DEFINITION), encoding="utf-8")
    alone = [await _alone(agent, definition) for agent in make_agents(count, REACT)]
    show(
        "start of an agent from data",
        [Samples("forked, fork server warm", forked, seconds), Samples("python -m agent_service", alone, seconds)],
    )


async def _turns(options: Options, manager: AgentManager, agent: Agent) -> None:
    async with AsyncExitStack() as stack:
        runtime = _runtime(options.directory("threads"))
        await runtime.open()
        stack.push_async_callback(runtime.close)
        own, through = await connect(agent.port), await connect(manager.port)
        stack.callback(own.close)
        stack.callback(through.close)
        ways: dict[str, Turn] = {
            "LangChain's create_agent, in process": _plain_graph(),
            "our runtime, in process": lambda: _executed(runtime),
            "the adapter, over HTTP": lambda: _asked(own, "/execute"),
            "through the manager": lambda: _asked(through, execute_path(agent)),
        }
        found: dict[str, list[float]] = {label: [] for label in ways}
        for number in range(1 + options.repeat(500, 50)):
            for label, turn in ways.items():
                taken = await _taken(label, turn)
                # The first builds graphs and fills caches.
                if number:
                    found[label].append(taken)
    show("a turn of one model call", [Samples(label, values, seconds) for label, values in found.items()])


async def _taken(label: str, turn: Turn) -> float:
    before = perf_counter()
    answer = await turn()
    taken = perf_counter() - before
    if answer != _ANSWER:
        raise CannotMeasure(f"{label} answered {answer!r}.")
    return taken


def _plain_graph() -> Turn:
    parameters = AgentDefinition.model_validate(_DEFINITION).behavior.model_parameters
    graph: Any = create_agent(build_model(parameters, Secrets(str)).chat, [], system_prompt="Be brief.")

    async def turn() -> str:
        state = await graph.ainvoke({"messages": [HumanMessage(_INPUT)]})
        return str(state["messages"][-1].text)

    return turn


def _runtime(directory: Path) -> ReactRuntime:
    return ReactRuntime(AgentDefinition.model_validate(_DEFINITION), Toolbox([], str), str, directory)


async def _executed(runtime: ReactRuntime) -> str:
    return str((await runtime.execute({"input": _INPUT}))["output"])


async def _asked(connection: Connection, target: str) -> str:
    answer = await connection.request("POST", target, {"parameters": {"input": _INPUT}})
    if answer.status != 200:
        raise CannotMeasure(f"POST {target} was answered with {answer.status}: {answer.body.decode()}")
    return str(answer.json()["result"]["output"])


async def _forked(manager: AgentManager, agent: Agent) -> float:
    before = perf_counter()
    await manager.start([agent])
    await until_healthy([agent], every=_EVERY)
    return perf_counter() - before


async def _alone(agent: Agent, definition: Path) -> float:
    before = perf_counter()
    with running((*agent.adapter, "--definition", definition), definition.with_suffix(".log")):
        await until_healthy([agent], every=_EVERY)
        return perf_counter() - before
