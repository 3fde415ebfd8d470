"""One definition made ready to run: LangChain's agent graph around its model, and its turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware.types import AgentMiddleware
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphRecursionError

from agent_service.definition import AgentDefinition
from agent_service.output_schema import OutputSchema
from agent_service.runtimes.protocol import Emit, ignore_chunk
from agent_service.runtimes.react.failures import ModelFailed
from agent_service.runtimes.react.guardrails import Guard, GuardedModel
from agent_service.runtimes.react.models import build_model
from agent_service.runtimes.react.retries import PatientModel
from agent_service.runtimes.react.scripted import ScriptPosition
from agent_service.runtimes.react.streaming import Broadcast
from agent_service.runtimes.react.structured import StructuredAnswers
from agent_service.runtimes.react.tool_calls import LoggedTools
from agent_service.runtimes.react.turn import Turn
from agent_service.runtimes.react.usage import UsageMeter, UsageTotals, load_prices
from agent_service.runtimes.runnables import closing
from agent_service.runtimes.tools.secrets import Resolve, Secrets

# A model call and the tools that it asked for are two steps.
MAX_MODEL_CALLS = 50

Checkpointer = BaseCheckpointSaver[Any] | None
State = dict[str, Any]


class Agent:
    """A reload makes another one, and turns under way keep theirs."""

    def __init__(self, definition: AgentDefinition, resolve: Resolve, totals: UsageTotals) -> None:
        """Imports the provider's library, which may take a second. Raises `EntryPointError`."""
        parameters = definition.behavior.model_parameters
        secrets = Secrets(resolve)
        self.definition = definition
        self.guard = Guard(definition.behavior.guardrails)
        self._model = build_model(parameters, secrets)
        self._turns = 0
        self._is_retired = False
        self._middleware: list[AgentMiddleware[Any, Turn]] = [LoggedTools(), GuardedModel(self.guard)]
        if definition.output_schema is not None:
            self._middleware.append(StructuredAnswers(OutputSchema(definition.output_schema), parameters.provider))
        # Around each single call of the model, so innermost.
        self._middleware.append(PatientModel(parameters, UsageMeter(parameters, totals), secrets.redact))
        if parameters.provider == "scripted":
            self._middleware.append(ScriptPosition())
        load_prices(parameters)
        self._built: _Built | None = None

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        """While inside, a retired agent keeps its connections."""
        self._turns += 1
        try:
            yield
        finally:
            self._turns -= 1
            await self._close_when_done()

    async def retire(self) -> None:
        """No new turn will come; the last one closes the connections."""
        self._is_retired = True
        await self._close_when_done()

    async def _close_when_done(self) -> None:
        if self._is_retired and not self._turns:
            await self._model.aclose()

    async def graph(self, tools: Sequence[BaseTool], checkpointer: Checkpointer) -> Any:
        """The compiled graph; the one from last time while the tools are the same."""
        built = self._built
        if built is None or not built.is_for(tools, checkpointer):
            # In a thread: of many hundred tools each is looked at.
            built = self._built = await asyncio.to_thread(self._made, tools, checkpointer)
        return built.graph

    def compile(self, tools: Sequence[BaseTool], checkpointer: Checkpointer) -> Any:
        """A new graph, within the caller's thread."""
        return create_agent(
            self._model.chat,
            tools,
            system_prompt=self.definition.behavior.system_prompt or None,
            middleware=self._middleware,
            context_schema=Turn,
            checkpointer=checkpointer,
        )

    def _made(self, tools: Sequence[BaseTool], checkpointer: Checkpointer) -> _Built:
        return _Built(tuple(tools), checkpointer, self.compile(tools, checkpointer))

    async def run(
        self, graph: Any, messages: Sequence[BaseMessage] | None, thread_id: str | None, turn: Turn, emit: Emit
    ) -> list[BaseMessage]:
        """All messages after one turn. `messages`: what is new; None goes on where the thread was left.

        Cancelled, it returns once no model call and no tool call is under way any more. Raises `Refusal`s, and what
        tools raise.
        """
        streamed = emit is not ignore_chunk
        broadcast = Broadcast(emit, self.guard)
        state: State = {"messages": []}
        modes = ["messages", "custom", "updates", "values"] if streamed else ["values"]
        run = graph.astream(
            None if messages is None else {"messages": list(messages)},
            config(thread_id),
            context=turn,
            stream_mode=modes,
            # A step is on disk before the next begins: what a kill takes is at most the step under way.
            durability="sync" if thread_id is not None else None,
        )
        try:
            async with closing(run):
                async for mode, payload in run:
                    if mode == "values":
                        state = payload
                    else:
                        await broadcast.tell(mode, payload)
        except GraphRecursionError as error:
            raise ModelFailed(
                f"The model asked for tools {MAX_MODEL_CALLS} times without coming to an answer; "
                "give it a clearer task, better tools or another model."
            ) from error
        return list(state["messages"])


def config(thread_id: str | None) -> RunnableConfig:
    """How LangGraph is told the thread and the limit."""
    configurable = {} if thread_id is None else {"thread_id": thread_id}
    return {"configurable": configurable, "recursion_limit": 2 * MAX_MODEL_CALLS}


@dataclass(frozen=True)
class _Built:
    tools: tuple[BaseTool, ...]
    checkpointer: Checkpointer
    graph: Any

    def is_for(self, tools: Sequence[BaseTool], checkpointer: Checkpointer) -> bool:
        return self.checkpointer is checkpointer and list(map(id, self.tools)) == list(map(id, tools))
