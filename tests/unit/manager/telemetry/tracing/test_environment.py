from __future__ import annotations

from typing import Any

import pytest

from agent_service.tracing.settings import TracingSettings
from manager.errors import ConfigError
from manager.settings import RuntimeSettings
from manager.telemetry.tracing.environment import read_settings, tracing_variables

URL = "http://collector:4318"


def settings(environ: dict[str, str], **runtime: Any) -> TracingSettings | None:
    return read_settings({**environ, **tracing_variables(RuntimeSettings.load(runtime, {}), environ)})


def test_the_config_can_give_the_endpoint_the_share_and_whether_content_is_captured() -> None:
    assert settings(
        {}, tracingEndpoint=f"{URL}/", tracingSampleRate=0.5, tracingCaptureContent=True
    ) == TracingSettings(url=f"{URL}/v1/traces", sample_rate=0.5, capture_content=True)


def test_without_an_endpoint_agents_are_told_nothing() -> None:
    assert tracing_variables(RuntimeSettings.load({"tracingSampleRate": 0.5}, {}), {}) == {}
    assert settings({}, tracingSampleRate=0.5) is None


def test_the_environment_wins() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://other/in",
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "false",
    }
    found = settings(environ, tracingEndpoint=URL, tracingSampleRate=0.5, tracingCaptureContent=True)
    assert found == TracingSettings(url="http://other/in", sample_rate=0, capture_content=False)


def test_the_config_fills_what_the_environment_leaves_open() -> None:
    found = settings({"OTEL_EXPORTER_OTLP_ENDPOINT": URL}, tracingSampleRate=0.25)
    assert found == TracingSettings(url=f"{URL}/v1/traces", sample_rate=0.25)


def test_a_wrong_variable_keeps_the_manager_from_starting_and_says_why() -> None:
    with pytest.raises(ConfigError, match="http/protobuf"):
        settings({"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})


@pytest.mark.parametrize("url", ["collector:4318", "http://me:hush@collector", "http://collector?key=1", ""])
def test_an_endpoint_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="tracingEndpoint"):
        RuntimeSettings.load({"tracingEndpoint": url}, {})
