"""OpenTelemetry's tracer as both sides use it: spans begin under a given parent, and go into an outbox."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import Span, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import AttributeValue

from agent_service.contract import CONTRACT_VERSION
from agent_service.tracing.counts import SpanCounts
from agent_service.tracing.outbox import Outbox
from agent_service.tracing.parents import Parent
from agent_service.tracing.settings import TracingSettings

Attributes = Mapping[str, AttributeValue]

_NAME = "agent-manager"
_NO_CONTEXT = Context()


class Tracer:
    """`resource`: what is the same for all spans of this process, such as `service.name`."""

    def __init__(
        self,
        settings: TracingSettings,
        resource: Attributes,
        counts: SpanCounts,
        exporter: SpanExporter | None = None,
    ) -> None:
        self.settings = settings
        self.outbox = Outbox(exporter or OTLPSpanExporter(endpoint=settings.url), settings, counts)
        self._ids = _ChosenIds()
        # What begins without one of our spans around it, in the agent's own code, is the agent's own choice.
        self.provider = TracerProvider(
            sampler=ParentBased(ALWAYS_ON),
            resource=Resource.create(dict(resource)),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(self.outbox)
        self._tracer = self.provider.get_tracer(_NAME, CONTRACT_VERSION)

    def begin(self, name: str, kind: SpanKind, parent: Parent, attributes: Attributes) -> Span:
        """The first span of this process in a trace that is recorded."""
        if parent.span_id is None:
            with self._ids.chosen(parent.trace_id):
                return self._start(name, kind, _NO_CONTEXT, attributes)
        caller = SpanContext(
            parent.trace_id,
            parent.span_id,
            is_remote=True,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
            trace_state=TraceState.from_header([parent.trace_state]) if parent.trace_state else None,
        )
        return self._start(name, kind, _under(trace.NonRecordingSpan(caller)), attributes)

    def begin_under(self, parent: Span, name: str, kind: SpanKind, attributes: Attributes) -> Span:
        """A span within another one of this process."""
        return self._start(name, kind, _under(parent), attributes)

    def _start(self, name: str, kind: SpanKind, context: Context, attributes: Attributes) -> Span:
        return self._tracer.start_span(name, context, kind, dict(attributes))


def _under(span: Span) -> Context:
    return trace.set_span_in_context(span, _NO_CONTEXT)


class _ChosenIds(RandomIdGenerator):
    """Random ids, but for a trace that has one already: its request's log lines carry it."""

    def __init__(self) -> None:
        self._chosen: ContextVar[int | None] = ContextVar("chosen_trace_id", default=None)

    def chosen(self, trace_id: int) -> _Choice:
        """While inside, a trace that begins gets this id."""
        return _Choice(self._chosen, trace_id)

    def generate_trace_id(self) -> int:
        return self._chosen.get() or super().generate_trace_id()


class _Choice:
    def __init__(self, variable: ContextVar[int | None], trace_id: int) -> None:
        self._variable = variable
        self._trace_id = trace_id

    def __enter__(self) -> None:
        self._token = self._variable.set(self._trace_id)

    def __exit__(self, *_: object) -> None:
        self._variable.reset(self._token)
