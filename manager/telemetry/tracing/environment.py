"""Where the fleet's traces go: as the standard variables say, else as `runtime` does; agents are told by variables."""

from __future__ import annotations

from collections.abc import Mapping

from agent_service.errors import ConfigError as WrongVariables
from agent_service.tracing.settings import (
    CAPTURE_CONTENT,
    ENDPOINT,
    SAMPLER,
    SAMPLER_ARGUMENT,
    TRACES_ENDPOINT,
    TracingSettings,
    read_tracing,
)
from manager.errors import ConfigError, ConfigIssue
from manager.settings import RuntimeSettings


def tracing_variables(runtime: RuntimeSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """What `runtime` adds to `environ`, which wins; nothing without an endpoint."""
    told: dict[str, str] = {}
    if not environ.get(ENDPOINT) and not environ.get(TRACES_ENDPOINT):
        if runtime.tracing_endpoint is None:
            return {}
        told[ENDPOINT] = runtime.tracing_endpoint
    if not environ.get(SAMPLER):
        told |= {SAMPLER: "parentbased_traceidratio", SAMPLER_ARGUMENT: f"{runtime.tracing_sample_rate:g}"}
    if not environ.get(CAPTURE_CONTENT) and runtime.tracing_capture_content:
        told[CAPTURE_CONTENT] = "true"
    return told


def read_settings(environ: Mapping[str, str]) -> TracingSettings | None:
    """The manager's own; None where traces have nowhere to go. Raises `ConfigError`."""
    try:
        return read_tracing(environ)
    except WrongVariables as error:
        raise ConfigError("the environment", [ConfigIssue("OTEL_*", "what cannot be used", str(error))]) from error
