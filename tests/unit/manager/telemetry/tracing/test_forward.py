from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from agent_service.definition import Tracing
from agent_service.http.request_context import bind, context_of, request_context
from agent_service.tracing.counts import SpanCounts
from agent_service.tracing.settings import TracingSettings
from agent_service.tracing.tracer import Tracer
from manager.telemetry.tracing.forward import ForwardSpans

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def scope(traceparent: str | None = None) -> dict[str, Any]:
    headers = [] if traceparent is None else [(b"traceparent", traceparent.encode())]
    made: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/api/agent-services/a/execute",
        "client": ("10.0.0.1", 5),
        "headers": headers,
    }
    bind(request_context(headers), made)
    return made


class Spans:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        tracer = Tracer(TracingSettings(url="http://c"), {}, SpanCounts("manager"), self.exporter)
        self.policy = Tracing()
        self.forward = ForwardSpans(tracer, lambda agent_id: self.policy)

    def finished(self) -> Any:
        asyncio.run(self.forward.close())
        return self.exporter.get_finished_spans()


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    yield made
    made.finished()


def test_the_adapter_is_told_the_span_and_the_request_id(spans: Spans) -> None:
    asked = scope(f"00-{TRACE}-{CALLER}-01")
    begun = spans.forward.begin(asked, "a")
    begun.end(status=200, outcome="2xx", milliseconds={"queue_ms": 1.0, "agent_ms": 2.0})
    (span,) = spans.finished()
    assert begun.span_id == f"{span.context.span_id:016x}"
    assert dict(begun.headers) == {
        b"x-request-id": context_of(asked).request_id.encode(),
        b"traceparent": f"00-{TRACE}-{begun.span_id}-01".encode(),
    }
    assert (span.name, span.kind) == ("POST /api/agent-services/{agent_id}/execute", SpanKind.SERVER)
    assert f"{span.parent.span_id:016x}" == CALLER
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "http.route": "/api/agent-services/{agent_id}/execute",
        "url.path": "/api/agent-services/a/execute",
        "url.scheme": "http",
        "client.address": "10.0.0.1",
        "gen_ai.agent.id": "a",
        "agent_manager.request_id": context_of(asked).request_id,
        "agent_manager.outcome": "2xx",
        "agent_manager.queue_ms": 1.0,
        "agent_manager.agent_ms": 2.0,
        "http.response.status_code": 200,
    }
    assert span.status.status_code is StatusCode.UNSET


def test_a_trace_that_begins_here_has_no_parent_and_the_id_of_the_log(spans: Spans) -> None:
    asked = scope()
    spans.forward.begin(asked, "a").end(status=200, outcome="2xx", milliseconds={})
    (span,) = spans.finished()
    assert (span.parent, f"{span.context.trace_id:032x}") == (None, context_of(asked).trace_id)


@pytest.mark.parametrize(
    ("policy", "traceparent"),
    [
        (Tracing(sample_rate=0), None),
        (Tracing(enabled=False), None),
        (Tracing(enabled=False), f"00-{TRACE}-{CALLER}-01"),
        (Tracing(), f"00-{TRACE}-{CALLER}-00"),
    ],
)
def test_what_is_not_recorded_is_told_on_as_such(spans: Spans, policy: Tracing, traceparent: str | None) -> None:
    spans.policy = policy
    asked = scope(traceparent)
    begun = spans.forward.begin(asked, "a")
    begun.end(status=200, outcome="2xx", milliseconds={})
    ids = context_of(asked).traceparent.rpartition("-")[0]
    assert dict(begun.headers)[b"traceparent"] == f"{ids}-00".encode()
    assert begun.span_id is None
    assert not spans.finished()


@pytest.mark.parametrize(
    ("status", "outcome", "error", "code"),
    [
        (404, "4xx", None, StatusCode.UNSET),
        (502, "5xx", "502", StatusCode.ERROR),
        (200, "broken_off", "broken_off", StatusCode.ERROR),
        (0, "client_gone", "client_gone", StatusCode.UNSET),
    ],
)
def test_how_it_ended(spans: Spans, status: int, outcome: str, error: str | None, code: StatusCode) -> None:
    spans.forward.begin(scope(), "a").end(status=status, outcome=outcome, milliseconds={})
    (span,) = spans.finished()
    assert (span.attributes.get("error.type"), span.status.status_code) == (error, code)
    assert span.attributes.get("http.response.status_code") == (status or None)
