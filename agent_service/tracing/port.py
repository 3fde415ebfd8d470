"""What the adapter asks of its traces, and the answer where there are none. Imports nothing of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.types import Scope

from agent_service.contract import TracingState
from agent_service.definition import Tracing
from agent_service.errors import StateConflict
from agent_service.tracing.settings import ENDPOINT

Work = Callable[[], Awaitable[object]]


class TaskTracing(Protocol):
    """Traces of one adapter's tasks."""

    def traced(self, scope: Scope, work: Work) -> Work:
        """`work` of the request, with a span around it where its trace is recorded."""

    def state(self) -> TracingState:
        """What is recorded now."""

    def override(self, policy: Tracing | None) -> TracingState:
        """Record so from now on; None: as the definition says. Raises `StateConflict` where there is no endpoint."""

    def manager_has_set(self, policy: Tracing | None) -> None:
        """What a manager says when it is registered with; None where nobody has set anything there."""

    async def close(self) -> None:
        """Send what has not been sent, for a moment at most."""


class NoTracing:
    """Nowhere to send traces to, so that none are made."""

    def traced(self, scope: Scope, work: Work) -> Work:
        return work

    def state(self) -> TracingState:
        return TracingState(exporting=False, enabled=False, sample_rate=0, overridden=False)

    def override(self, policy: Tracing | None) -> TracingState:
        raise StateConflict(
            f"Traces have nowhere to go; set {ENDPOINT} in the environment of the agent's process (the manager does so "
            "where its config has runtime.tracingEndpoint), and start the agent again."
        )

    def manager_has_set(self, policy: Tracing | None) -> None:
        """Nothing is recorded anyhow."""

    async def close(self) -> None:
        """Nothing is there to be sent."""
