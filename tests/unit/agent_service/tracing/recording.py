"""Traces in this process: an adapter whose spans a test can look at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent_service.contract import AgentSpec
from agent_service.definition import Tracing
from agent_service.runtimes.protocol import Runtime
from agent_service.tracing.counts import SpanCounts
from agent_service.tracing.policy import Policy
from agent_service.tracing.settings import TracingSettings
from agent_service.tracing.tasks import TaskSpans
from agent_service.tracing.tracer import Tracer
from tests.unit.agent_service.harness import Adapter

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
SECRET = "hush-hush"


def traceparent(flags: str = "01") -> dict[str, str]:
    """The header of a caller whose trace it is."""
    return {"traceparent": f"00-{TRACE}-{CALLER}-{flags}"}


class Recording:
    """`spans` sends what has ended, so it comes last."""

    def __init__(self, defined: Tracing | None = None, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.counts = SpanCounts("agent")
        made = TracingSettings(url="http://collector/v1/traces", **settings)
        self.tracer = Tracer(made, {"service.name": "a"}, self.counts, self.exporter)
        self.tasks = TaskSpans(
            self.tracer,
            Policy(lambda: defined, made.sample_rate),
            AgentSpec(id="a", name="A"),
            lambda text: text.replace(SECRET, "[redacted]"),
        )

    def spans(self) -> Sequence[ReadableSpan]:
        """In the order in which they ended."""
        self.tracer.outbox.force_flush()
        self.tracer.outbox.close(10)
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        """The only one of that name."""
        (found,) = (span for span in self.spans() if span.name == name)
        return found

    def tree(self) -> list[str]:
        """Every span as the names from the outermost to it, in the order in which they began."""
        spans = sorted(self.spans(), key=lambda span: span.start_time or 0)
        names = {span.context.span_id: span.name for span in spans}
        parents = {span.context.span_id: span.parent.span_id if span.parent else None for span in spans}

        def path(span_id: int | None) -> list[str]:
            return [] if span_id not in names else [*path(parents[span_id]), names[span_id]]

        return [" > ".join(path(span.context.span_id)) for span in spans]

    def execute(self, runtime: Runtime, parameters: Any = None, **headers: str) -> httpx.Response:
        """The answer to one execute."""

        async def scenario() -> httpx.Response:
            await runtime.open()
            try:
                return await Adapter(runtime, tracing=self.tasks).execute(parameters, headers=headers)
            finally:
                await runtime.close()

        return asyncio.run(scenario())


Record = Callable[..., Recording]
