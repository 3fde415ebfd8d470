"""What a forwarded request asks of its trace. Imports nothing of OpenTelemetry."""

from __future__ import annotations

from typing import Protocol

from starlette.types import Scope

from agent_service.http.client.answer import RawHeaders


class ForwardTrace(Protocol):
    """Of one request. `headers` tell the adapter its ids; `span_id` is None where the trace is not recorded."""

    headers: RawHeaders
    span_id: str | None

    def end(self, *, status: int, outcome: str, milliseconds: dict[str, float]) -> None:
        """The request is over. `milliseconds`: where its time went, such as `queue_ms`."""


class ForwardTracing(Protocol):
    """Traces of forwarded requests."""

    def begin(self, scope: Scope, agent_id: str) -> ForwardTrace: ...

    async def close(self) -> None:
        """Send what has not been sent, for a moment at most."""
