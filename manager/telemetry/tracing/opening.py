"""From settings to the traces of forwarded requests."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from agent_service.definition import Tracing
from agent_service.tracing.counts import SpanCounts
from agent_service.tracing.settings import TracingSettings
from manager.errors import ConfigError, ConfigIssue
from manager.telemetry.tracing.port import ForwardTracing
from manager.version import __version__

_SERVICE_NAME = "agent-manager"


def open_forward_tracing(
    settings: TracingSettings, policy_of: Callable[[str], Tracing], registry: CollectorRegistry
) -> ForwardTracing:
    """Imports OpenTelemetry, which nobody else does. Raises `ConfigError` where it is not installed."""
    try:
        from agent_service.tracing.tracer import Tracer
        from manager.telemetry.tracing.forward import ForwardSpans
    except ImportError as error:
        issue = ConfigIssue(
            "tracing", f"an endpoint, but no OpenTelemetry ({error})", "install agent-manager[otel], or unset OTEL_*"
        )
        raise ConfigError("the tracing", [issue]) from error
    counts = SpanCounts("manager")
    registry.register(counts)
    resource = {"service.name": settings.service_name or _SERVICE_NAME, "service.version": __version__}
    return ForwardSpans(Tracer(settings, resource, counts), policy_of)
