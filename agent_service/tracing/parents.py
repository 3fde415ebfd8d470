"""The trace that a request belongs to, and whether its spans are recorded: decided once, where the trace begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from starlette.types import Scope

from agent_service.definition import Tracing
from agent_service.http.request_context import RequestContext, context_of, values_of

_SAMPLED = 0x01
# The ratio is taken of the low 64 bits of a trace id, as in OpenTelemetry's own TraceIdRatioBased.
_LOW_BITS = (1 << 64) - 1


@dataclass(frozen=True)
class Parent:
    """`span_id` is None where the trace begins here: its id is then the one that the request's log lines carry."""

    trace_id: int
    span_id: int | None
    is_sampled: bool
    trace_state: str = ""


def parent_of(scope: Scope, policy: Tracing) -> Parent:
    """What the caller has decided holds; for a trace that begins here `policy` decides."""
    context = context_of(scope)
    _, trace_id, span_id, flags = context.traceparent.split("-")[:4]
    number = int(trace_id, 16)
    if not _is_from_caller(context, scope["headers"]):
        return Parent(number, None, policy.enabled and is_sampled(number, policy.sample_rate))
    states = ",".join(values_of(scope["headers"], b"tracestate"))
    return Parent(number, int(span_id, 16), policy.enabled and bool(int(flags, 16) & _SAMPLED), states)


def is_sampled(trace_id: int, rate: float) -> bool:
    """Whether a trace is among the share of `rate`: the same answer for the same id, wherever it is asked."""
    return (trace_id & _LOW_BITS) < rate * (_LOW_BITS + 1)


def traceparent(trace_id: int, span_id: int, *, is_sampled: bool) -> str:
    """https://www.w3.org/TR/trace-context/#traceparent-header"""
    return f"00-{trace_id:032x}-{span_id:016x}-{int(is_sampled):02x}"


def unsampled(context: RequestContext) -> str:
    """The request's own traceparent, told on as one that nobody records."""
    _, trace_id, span_id = context.traceparent.split("-")[:3]
    return f"00-{trace_id}-{span_id}-00"


def _is_from_caller(context: RequestContext, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return values_of(headers, b"traceparent") == [context.traceparent]
