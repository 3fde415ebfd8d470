"""From what the environment says to the traces of one adapter."""

from __future__ import annotations

from collections.abc import Collection

import structlog
from prometheus_client import CollectorRegistry

from agent_service.definition import Tracing
from agent_service.launch import Launch
from agent_service.log_redaction import Redaction
from agent_service.redaction import shown
from agent_service.runtimes.protocol import Runtime
from agent_service.tracing.counts import SpanCounts
from agent_service.tracing.policy import Policy
from agent_service.tracing.port import NoTracing, TaskTracing
from agent_service.tracing.settings import TracingSettings

log = structlog.stdlib.get_logger(__name__)


def open_tracing(
    launch: Launch, runtime: Runtime, registry: CollectorRegistry, secrets: Collection[str]
) -> TaskTracing:
    """In the process that serves, never before a fork: a thread comes of it. What is wrong costs the traces alone."""
    if launch.tracing_trouble:
        log.error("Traces are off", reason=launch.tracing_trouble)
    if launch.tracing is None:
        return NoTracing()
    try:
        tracing = _open(launch, launch.tracing, runtime, registry, secrets)
    except ImportError as error:
        log.error("Traces are off", reason=f"{error}; install agent-manager[otel], or unset the OTEL_* variables")
        return NoTracing()
    log.info("Traces are sent", url=shown("url", launch.tracing.url), sample_rate=launch.tracing.sample_rate)
    return tracing


def _open(
    launch: Launch,
    settings: TracingSettings,
    runtime: Runtime,
    registry: CollectorRegistry,
    secrets: Collection[str],
) -> TaskTracing:
    # Imported here, because nobody else needs OpenTelemetry, or may even have it.
    from opentelemetry import trace

    from agent_service.tracing.tasks import TaskSpans
    from agent_service.tracing.tracer import Tracer

    counts = SpanCounts("agent")
    spec = launch.spec
    resource = {"service.name": settings.service_name or spec.id, "service.instance.id": launch.instance_id}
    tracer = Tracer(settings, resource, counts)
    registry.register(counts)
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        # Spans that the agent's own code makes go along, unless it has seen to that by itself.
        trace.set_tracer_provider(tracer.provider)

    def defined() -> Tracing | None:
        found = getattr(runtime, "tracing", None)
        return found if isinstance(found, Tracing) else None

    return TaskSpans(tracer, Policy(defined, settings.sample_rate), spec, Redaction(secrets).text)
