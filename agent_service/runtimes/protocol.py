"""What the adapter asks of a runtime, whatever kind of agent is behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

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


async def ignore_chunk(chunk: Any) -> None:
    """The `Emit` of a task that nobody streams."""
