"""What the adapter asks of a runtime, whatever kind of agent is behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, runtime_checkable

from prometheus_client.registry import Collector

from agent_service.contract import DefinitionSummary, ReloadAnswer, Thread, ThreadPage
from agent_service.definition import AgentDefinition

Parameters = dict[str, Any]

Emit = Callable[[Any], Awaitable[None]]
"""Takes one chunk; waits while the client is behind. Raises `ResultNotJson`."""


class Runtime(Protocol):
    """Runs one agent. `execute` and `stream` are called concurrently, between `open` and `close`.

    Whatever the agent's own code raises comes out of them as it is. When cancelled they return only after
    the agent's code has really ended.
    """

    @property
    def supports_streaming(self) -> bool:
        """`stream` may emit chunks."""

    async def open(self) -> None:
        """Get ready for work. Raises `EntryPointError`."""

    async def execute(self, parameters: Parameters) -> Any:
        """The result of one task."""

    async def stream(self, parameters: Parameters, emit: Emit) -> Any:
        """The same, with every chunk handed to `emit` on the way."""

    async def close(self) -> None:
        """Let go of everything, without waiting for code that does not end."""


class Threads(Protocol):
    """The conversations that an agent remembers."""

    async def page(self, limit: int, before: str | None) -> ThreadPage:
        """The newest `limit`, or those that come after the cursor `before`."""

    async def read(self, thread_id: str) -> Thread:
        """One whole. Raises `NoSuchThread`."""

    async def delete(self, thread_id: str) -> None:
        """Forget one. Raises `NoSuchThread`, and `StateConflict` while a call is under way on it."""


@runtime_checkable
class DefinedRuntime(Runtime, Protocol):
    """A runtime whose agent is data: it can be told, replaced while it runs, and asked what it remembers."""

    @property
    def collectors(self) -> tuple[Collector, ...]:
        """Metrics of its own."""

    def summary(self) -> DefinitionSummary:
        """What the agent is made of; no secret is in it."""

    async def reload(self, definition: AgentDefinition) -> ReloadAnswer:
        """Take new calls by this definition. Raises `BadRequest`, and then nothing has changed; `NotReady`."""

    async def threads(self) -> Threads:
        """Raises `StateConflict` where it remembers nothing, `NotReady`."""


async def ignore_chunk(chunk: Any) -> None:
    """The `Emit` of a task that nobody streams."""
