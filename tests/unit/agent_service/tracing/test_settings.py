from __future__ import annotations

import pytest

from agent_service.errors import ConfigError
from agent_service.tracing.settings import TracingSettings, read_tracing

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def test_without_an_endpoint_there_are_no_traces() -> None:
    assert read_tracing({}) is None
    assert read_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": " ", "OTEL_TRACES_SAMPLER": "nonsense"}) is None


@pytest.mark.parametrize("switch", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_they_can_be_switched_off_although_there_is_an_endpoint(switch: dict[str, str]) -> None:
    assert read_tracing({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", **switch}) is None


def test_an_endpoint_alone_records_everything_but_content() -> None:
    assert read_tracing(ENDPOINT) == TracingSettings(url="http://collector:4318/v1/traces")


def test_the_endpoint_of_traces_is_taken_as_it_is_and_wins() -> None:
    settings = read_tracing({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://other/in"})
    assert settings is not None
    assert settings.url == "https://other/in"


@pytest.mark.parametrize(
    ("variables", "rate"),
    [
        ({"OTEL_TRACES_SAMPLER": "always_on"}, 1),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, 0.25),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, 1),
    ],
)
def test_the_sampler_gives_the_share(variables: dict[str, str], rate: float) -> None:
    settings = read_tracing({**ENDPOINT, **variables})
    assert settings is not None
    assert settings.sample_rate == rate


def test_content_and_the_queue_are_set_by_standard_variables() -> None:
    settings = read_tracing(
        {
            **ENDPOINT,
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "True",
            "OTEL_BSP_MAX_QUEUE_SIZE": "10",
            "OTEL_BSP_SCHEDULE_DELAY": "250",
            "OTEL_SERVICE_NAME": "mine",
        }
    )
    assert settings == TracingSettings(
        url="http://collector:4318/v1/traces",
        service_name="mine",
        capture_content=True,
        queue_size=10,
        batch_size=10,
        delay_seconds=0.25,
    )


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://[::1"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "parentbased_traceidratio"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, "from 0 to 1"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"}, "from 0 to 1"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "0"}, "OTEL_BSP_MAX_QUEUE_SIZE"),
    ],
)
def test_what_is_wrong_is_told_with_the_way_out(variables: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_tracing({**ENDPOINT, **variables})
    assert named in str(caught.value)
    assert "OTEL_TRACES_EXPORTER=none" in str(caught.value)


def test_a_url_with_a_password_is_not_told() -> None:
    with pytest.raises(ConfigError) as caught:
        read_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://me:hush@collector"})
    assert "hush" not in str(caught.value)
