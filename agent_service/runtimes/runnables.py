"""Agents that are LangGraph graphs or LangChain Runnables.

Neither library is imported here: an object of theirs can exist only after the agent's own module imported it.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agent_service.runtimes.protocol import Emit, Parameters, ignore_chunk

INTERRUPT = "__interrupt__"


def is_instance_of(value: object, module: str, name: str) -> bool:
    """`value` is an instance of `module.name`, a module that something else may have imported."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def is_runnable(value: object) -> bool:
    """`value` is a LangChain Runnable; compiled graphs are among them."""
    return is_instance_of(value, "langchain_core.runnables.base", "Runnable")


def is_graph(value: object) -> bool:
    """`value` is a compiled LangGraph graph."""
    return is_instance_of(value, "langgraph.pregel.protocol", "PregelProtocol")


def is_uncompiled_graph(value: object) -> bool:
    """`value` is a StateGraph that nobody has compiled yet."""
    return is_instance_of(value, "langgraph.graph.state", "StateGraph")


@asynccontextmanager
async def closing(run: AsyncIterator[Any]) -> AsyncIterator[None]:
    """On leaving, a stream that was not read to its end is closed, where its kind can be."""
    try:
        yield
    finally:
        if (close := getattr(run, "aclose", None)) is not None:
            await close()


class GraphRuntime:
    """Chunks are the graph's updates, the result is its final state: both from one and the same run."""

    supports_streaming = True

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    async def open(self) -> None:
        """Nothing to open."""

    async def execute(self, parameters: Parameters) -> Any:
        """The final state, as `ainvoke` gives it."""
        return await self.stream(parameters, ignore_chunk)

    async def stream(self, parameters: Parameters, emit: Emit) -> Any:
        """The same; each update goes to `emit`. Interrupts are in the state under `__interrupt__`."""
        state: Any = None
        interrupts: list[Any] = []
        run = self._graph.astream(parameters, self._config(), stream_mode=["updates", "values"])
        async with closing(run):
            async for mode, payload in run:
                if mode == "values":
                    state = payload
                    continue
                if isinstance(payload, dict):
                    interrupts.extend(payload.get(INTERRUPT, ()))
                await emit(payload)
        state = self._output(state)
        if not interrupts:
            return state
        return {**(state if isinstance(state, dict) else {}), INTERRUPT: interrupts}

    async def close(self) -> None:
        """Nothing to close."""

    def _output(self, state: Any) -> Any:
        """Of the final state what the graph's output schema names, as `ainvoke` gives it."""
        channels = getattr(self._graph, "output_channels", None)
        if not isinstance(state, dict) or not isinstance(channels, list | tuple):
            return state
        return {name: state[name] for name in channels if name in state}

    def _config(self) -> dict[str, Any] | None:
        """A graph with a checkpointer needs a thread; each task is its own."""
        if not getattr(self._graph, "checkpointer", None):
            return None
        return {"configurable": {"thread_id": uuid.uuid4().hex}}


class RunnableRuntime:
    """Chunks are what the Runnable streams; the streamed result is their sum where they can be added, else the last."""

    supports_streaming = True

    def __init__(self, runnable: Any) -> None:
        self._runnable = runnable

    async def open(self) -> None:
        """Nothing to open."""

    async def execute(self, parameters: Parameters) -> Any:
        """What `ainvoke` gives."""
        return await self._runnable.ainvoke(parameters)

    async def stream(self, parameters: Parameters, emit: Emit) -> Any:
        """The sum of the chunks, each of which goes to `emit`."""
        total: Any = None
        first = True
        run = self._runnable.astream(parameters)
        async with closing(run):
            async for chunk in run:
                await emit(chunk)
                total = chunk if first else _added(total, chunk)
                first = False
        return total

    async def close(self) -> None:
        """Nothing to close."""


def _added(total: Any, chunk: Any) -> Any:
    try:
        return total + chunk
    except TypeError:
        return chunk
