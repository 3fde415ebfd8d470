"""The runtime of `react`: an agent that is data. Reloaded, it answers new calls by the new definition."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import structlog
from langchain_core.messages import BaseMessage
from prometheus_client.registry import Collector

from agent_service.contract import DefinitionSummary, ModelSummary, ReloadAnswer
from agent_service.definition import AgentDefinition, Tracing
from agent_service.errors import BadRequest, EntryPointError, NotReady, StateConflict
from agent_service.runtimes.protocol import Emit, Parameters, ignore_chunk
from agent_service.runtimes.react.agent import Agent, config
from agent_service.runtimes.react.changes import changed_paths
from agent_service.runtimes.react.conversation import Request, answer, read_request, refusal
from agent_service.runtimes.react.memory import Memory, opened, turn_of
from agent_service.runtimes.react.ports import Tools
from agent_service.runtimes.react.threads import Threads
from agent_service.runtimes.react.turn import Turn
from agent_service.runtimes.react.turns import after_input, closing_messages
from agent_service.runtimes.react.usage import UsageTotals
from agent_service.runtimes.tools.secrets import Resolve

log = structlog.stdlib.get_logger(__name__)

# Seconds that a call waits for servers of tools that have not yet been reached for the first time.
SETTLE_SECONDS = 10.0


class ReactRuntime:
    """Between `open` and `close` one agent at a time is current; turns keep the one that they began with."""

    supports_streaming = True

    def __init__(self, definition: AgentDefinition, tools: Tools, resolve: Resolve, directory: Path) -> None:
        """`directory`: where threads are kept, this agent's alone."""
        self._definition = definition
        self._tools = tools
        self._resolve = resolve
        self._directory = directory
        self._totals = UsageTotals()
        self._agent: Agent | None = None
        self._memory: Memory | None = None
        self._revision = 0
        self._reloading = asyncio.Lock()

    @property
    def collectors(self) -> tuple[Collector, ...]:
        """What it adds to the adapter's metrics."""
        return (self._totals, self._tools.metrics)

    @property
    def tracing(self) -> Tracing:
        """What of its tasks is to be traced, by the definition that is current."""
        return (self._definition if self._agent is None else self._agent.definition).tracing

    async def open(self) -> None:
        """Neither the model nor a server of tools is waited for. Raises `EntryPointError`."""
        agent = await self._make(self._definition)
        await self._open_memory(self._definition)
        await self._tools.open()
        self._agent = agent

    async def execute(self, parameters: Parameters) -> Any:
        """The answer to one input. Raises `BadRequest`, `StateConflict`, `ModelFailed`, `ModelUnavailable` and
        `ToolServerUnavailable`.
        """
        return await self.stream(parameters, ignore_chunk)

    async def stream(self, parameters: Parameters, emit: Emit) -> Any:
        """The same; tokens, tool calls and their results go to `emit`."""
        request = read_request(parameters)
        agent, memory = self._current()
        if agent.definition.memory.kind == "none":
            if request.thread_id is not None:
                raise BadRequest('The agent keeps no threads; leave "thread_id" out, or set memory.kind to thread.')
            return await self._turn(agent, None, request, None, emit)
        thread_id = request.thread_id or uuid.uuid4().hex
        return {**await self._turn(agent, memory, request, thread_id, emit), "thread_id": thread_id}

    async def close(self) -> None:
        """Let go of servers, threads and the calls in flight."""
        await self._tools.close()
        if self._agent is not None:
            await self._agent.retire()
        if self._memory is not None:
            await self._memory.close()

    async def reload(self, definition: AgentDefinition) -> ReloadAnswer:
        """From now on this definition; turns under way finish on the old one.

        Raises `BadRequest` when it cannot be used, and then nothing has changed; `NotReady`.
        """
        async with self._reloading:
            before, _ = self._current()
            try:
                agent = await self._replacement(definition)
            except EntryPointError as error:
                raise BadRequest(f"The definition cannot be used, and nothing has changed: {error}") from error
            self._agent = agent
            await before.retire()
            self._revision += 1
            changed = changed_paths(before.definition, definition)
            log.info("Definition reloaded", revision=self._revision, changed=changed)
            return ReloadAnswer(changed=changed, definition=self.summary())

    def summary(self) -> DefinitionSummary:
        """What the agent is made of now; no secret is in it."""
        definition = self._definition if self._agent is None else self._agent.definition
        parameters = definition.behavior.model_parameters
        guardrails = definition.behavior.guardrails
        return DefinitionSummary(
            model=ModelSummary(provider=parameters.provider, model=parameters.model, base_url=parameters.base_url),
            memory=definition.memory.kind,
            servers=self._tools.health(),
            structured_output=definition.output_schema is not None,
            guardrails=guardrails != type(guardrails)(),
            revision=self._revision,
        )

    async def threads(self) -> Threads:
        """The agent's conversations. Raises `StateConflict` where it keeps none, `NotReady`."""
        agent, memory = self._current()
        if memory is None:
            raise StateConflict("The agent keeps no threads; set memory.kind to thread in its definition.")
        return Threads(memory, await agent.graph(self._tools.tools(), memory.saver))

    async def _turn(
        self, agent: Agent, memory: Memory | None, request: Request, thread_id: str | None, emit: Emit
    ) -> dict[str, Any]:
        turn = Turn()
        messages = None if request.resume else request.messages()
        if messages is not None and (rule := agent.guard.check_input(messages)) is not None:
            return refusal(rule, turn.tally)
        async with agent.in_use(), self._ready_tools(), _alone(memory, thread_id):
            graph = await agent.graph(self._tools.tools(), None if memory is None else memory.saver)
            given = messages if thread_id is None else await _prepared(graph, thread_id, messages)
            said = await agent.run(graph, given, thread_id, turn, emit)
        structured = agent.definition.output_schema is not None
        shown = [agent.guard.shown(message) for message in after_input(said, messages)]
        return answer(shown, turn.tally, structured=structured)

    @asynccontextmanager
    async def _ready_tools(self) -> AsyncIterator[None]:
        with self._tools.held():
            await self._tools.settled(SETTLE_SECONDS)
            self._tools.require_closed_servers()
            yield

    async def _make(self, definition: AgentDefinition) -> Agent:
        # In a thread: a provider's library takes a second to import, and calls may be under way.
        return await asyncio.to_thread(Agent, definition, self._resolve, self._totals)

    async def _replacement(self, definition: AgentDefinition) -> Agent:
        agent = await self._make(definition)
        try:
            await self._open_memory(definition)
            await self._tools.update(definition.capabilities.mcp_servers)
        except EntryPointError:
            await agent.retire()
            raise
        return agent

    async def _open_memory(self, definition: AgentDefinition) -> None:
        """Once opened it stays so: turns that began with it need it whatever the definition says now."""
        if definition.memory.kind == "thread" and self._memory is None:
            self._memory = await opened(self._directory)

    def _current(self) -> tuple[Agent, Memory | None]:
        if self._agent is None:
            raise NotReady("The agent is still starting; try again in a moment.")
        return self._agent, self._memory


def _alone(memory: Memory | None, thread_id: str | None) -> AbstractAsyncContextManager[None]:
    return nullcontext() if memory is None or thread_id is None else turn_of(memory, thread_id)


async def _prepared(graph: Any, thread_id: str, messages: Sequence[BaseMessage] | None) -> Sequence[BaseMessage] | None:
    """What the graph is given on a thread. Raises `StateConflict` when there is nothing to resume."""
    snapshot = await graph.aget_state(config(thread_id))
    if messages is None:
        if snapshot.created_at is None:
            raise StateConflict(f'There is no thread {thread_id!r} to resume; send "input" to begin it.')
        if not snapshot.next:
            raise StateConflict(
                f"The thread {thread_id!r} has no unfinished turn to resume; GET /threads/{thread_id} shows how it "
                'ended. Send "input" to go on.'
            )
        return None
    return [*closing_messages(snapshot.values.get("messages", [])), *messages]
