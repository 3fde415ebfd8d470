"""A span around each forwarded request whose trace is recorded; the adapter's span is its child."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from starlette.types import Scope

from agent_service.definition import Tracing
from agent_service.http.client.answer import RawHeaders
from agent_service.http.request_context import RequestContext, context_of
from agent_service.tracing.parents import parent_of, traceparent, unsampled
from agent_service.tracing.tracer import Tracer

# Seconds that spans have to be sent when the manager is about to end.
FLUSH_SECONDS = 2.0
_ROUTE = "/api/agent-services/{agent_id}/execute"


class ForwardSpans:
    """`policy_of` tells what of an agent is traced; for a trace that begins here it decides once and for all."""

    def __init__(self, tracer: Tracer, policy_of: Callable[[str], Tracing]) -> None:
        self._tracer = tracer
        self._policy_of = policy_of

    def begin(self, scope: Scope, agent_id: str) -> ForwardSpan | Unrecorded:
        """The request's span, if its trace is recorded."""
        context = context_of(scope)
        parent = parent_of(scope, self._policy_of(agent_id))
        if not parent.is_sampled:
            return Unrecorded(_headers(context, unsampled(context)))
        client = scope.get("client")
        attributes = {
            "http.request.method": scope["method"],
            "http.route": _ROUTE,
            "url.path": scope["path"],
            "url.scheme": scope["scheme"],
            "gen_ai.agent.id": agent_id,
            "agent_manager.request_id": context.request_id,
            **({"client.address": str(client[0])} if client else {}),
        }
        span = self._tracer.begin(f"POST {_ROUTE}", SpanKind.SERVER, parent, attributes)
        return ForwardSpan(span, context)

    async def close(self) -> None:
        """Send what has not been sent, for `FLUSH_SECONDS` at most."""
        await asyncio.to_thread(self._tracer.outbox.close, FLUSH_SECONDS)


class Unrecorded:
    """A request whose trace nobody records, here or further on."""

    span_id: str | None = None

    def __init__(self, headers: RawHeaders) -> None:
        self.headers = headers

    def end(self, *, status: int, outcome: str, milliseconds: dict[str, float]) -> None:
        """Nothing was begun."""


class ForwardSpan:
    """One request that is under way."""

    def __init__(self, span: Span, context: RequestContext) -> None:
        self._span = span
        ids = span.get_span_context()
        self.span_id: str | None = f"{ids.span_id:016x}"
        self.headers = _headers(context, traceparent(ids.trace_id, ids.span_id, is_sampled=True))

    def end(self, *, status: int, outcome: str, milliseconds: dict[str, float]) -> None:
        """`outcome`: the class of the status, or how the request broke off."""
        attributes: dict[str, str | int | float] = {"agent_manager.outcome": outcome}
        attributes |= {f"agent_manager.{name}": value for name, value in milliseconds.items()}
        if status:
            attributes["http.response.status_code"] = status
        if status >= 500:
            attributes["error.type"] = str(status)
        elif not outcome.endswith("xx"):
            attributes["error.type"] = outcome
        self._span.set_attributes(attributes)
        if status >= 500 or outcome == "broken_off":
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


def _headers(context: RequestContext, parent: str) -> RawHeaders:
    own = [header for header in context.headers if header[0] != b"traceparent"]
    return [*own, (b"traceparent", parent.encode())]
