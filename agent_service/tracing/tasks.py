"""A span around each task of an adapter, and what goes on inside it under that span."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.trace import Span, SpanKind
from starlette.types import Scope

from agent_service.contract import AgentSpec, TracingState
from agent_service.definition import Tracing
from agent_service.http.request_context import context_of
from agent_service.tracing.content import Redact
from agent_service.tracing.outcome import fail
from agent_service.tracing.parents import Parent, parent_of, traceparent, unsampled
from agent_service.tracing.policy import Policy
from agent_service.tracing.port import Work
from agent_service.tracing.propagation import carry
from agent_service.tracing.tracer import Tracer

if TYPE_CHECKING:
    from agent_service.tracing.langchain import LangChainHook

# Seconds that spans have to be sent when the process is about to end.
FLUSH_SECONDS = 2.0
_LANGCHAIN = "langchain_core.callbacks.manager"


class TaskSpans:
    """`redact` takes secrets out of what is recorded of prompts and answers, where they are recorded at all."""

    def __init__(self, tracer: Tracer, policy: Policy, spec: AgentSpec, redact: Redact) -> None:
        self._tracer = tracer
        self._policy = policy
        self._content = redact if tracer.settings.capture_content else None
        self._name = f"invoke_agent {spec.name}"
        self._attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.id": spec.id,
            "gen_ai.agent.name": spec.name,
        }
        self._hook: LangChainHook | None = None

    def traced(self, scope: Scope, work: Work) -> Work:
        """`work` with a span around it; where the trace is not recorded, whoever `work` asks is told so."""
        parent = parent_of(scope, self._policy.now())
        if not parent.is_sampled:
            headers = {"traceparent": unsampled(context_of(scope))}
            return lambda: _unrecorded(headers, work)
        accepted = time.monotonic()
        return lambda: self._run(parent, accepted, work)

    def state(self) -> TracingState:
        now = self._policy.now()
        return TracingState(
            exporting=True,
            enabled=now.enabled,
            sample_rate=now.sample_rate,
            overridden=self._policy.override is not None,
        )

    def override(self, policy: Tracing | None) -> TracingState:
        self._policy.override = policy
        return self.state()

    def manager_has_set(self, policy: Tracing | None) -> None:
        self._policy.override = policy

    async def close(self) -> None:
        await asyncio.to_thread(self._tracer.outbox.close, FLUSH_SECONDS)

    async def _run(self, parent: Parent, accepted: float, work: Work) -> object:
        bound = structlog.contextvars.get_contextvars()
        waited_ms = round((time.monotonic() - accepted) * 1000, 3)
        told = {name: str(bound[name]) for name in ("task_id", "request_id") if name in bound}
        attributes = {f"agent_manager.{name}": value for name, value in told.items()}
        span = self._tracer.begin(
            self._name,
            SpanKind.SERVER,
            parent,
            {**self._attributes, **attributes, "agent_manager.queue_ms": waited_ms},
        )
        # The task's own context, which ends with it.
        structlog.contextvars.bind_contextvars(span_id=f"{span.get_span_context().span_id:016x}")
        here, close = self._watch(span)
        carry(lambda: _headers(here()))
        token = attach(trace.set_span_in_context(span))
        try:
            return await work()
        except BaseException as error:
            fail(span, error, self._content)
            raise
        finally:
            detach(token)
            close()
            span.end()

    def _watch(self, span: Span) -> tuple[Callable[[], Span], Callable[[], None]]:
        """Where code of the task is, as a span, and what to do at the task's end."""
        if _LANGCHAIN not in sys.modules:
            return lambda: span, lambda: None
        # Only where the agent has imported LangChain itself, which takes seconds.
        from agent_service.tracing.langchain import LangChainHook, TaskRuns

        if self._hook is None:
            self._hook = LangChainHook()
        runs = TaskRuns(self._tracer, span, self._content)
        self._hook.watch(runs)
        return runs.here, runs.close


async def _unrecorded(headers: dict[str, str], work: Work) -> object:
    carry(lambda: headers)
    return await work()


def _headers(span: Span) -> dict[str, str]:
    context = span.get_span_context()
    headers = {"traceparent": traceparent(context.trace_id, context.span_id, is_sampled=True)}
    if context.trace_state:
        headers["tracestate"] = context.trace_state.to_header()
    return headers
