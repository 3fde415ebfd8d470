"""Where traces go, as the standard `OTEL_*` variables of OpenTelemetry say; they are the same for every language.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from agent_service.errors import ConfigError

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
SAMPLER = "OTEL_TRACES_SAMPLER"
SAMPLER_ARGUMENT = "OTEL_TRACES_SAMPLER_ARG"
SERVICE_NAME = "OTEL_SERVICE_NAME"
CAPTURE_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
WAY_OUT = "or set OTEL_TRACES_EXPORTER=none to go without traces"

_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_ALL = frozenset({"", "always_on", "parentbased_always_on"})
_NONE = frozenset({"always_off", "parentbased_always_off"})
_RATIO = frozenset({"traceidratio", "parentbased_traceidratio"})
_CAPTURING = frozenset({"true", "span_only", "span_and_event"})


@dataclass(frozen=True)
class TracingSettings:
    """`url` takes OTLP over HTTP. `sample_rate`: the share, 0 to 1, of the traces begun here that are recorded.

    `capture_content`: prompts, answers and the arguments and results of tools are recorded too. At most `queue_size`
    spans wait, and are sent at most `delay_seconds` after the first of them has ended, `batch_size` at a time.
    """

    url: str
    service_name: str | None = None
    sample_rate: float = 1.0
    capture_content: bool = False
    queue_size: int = 2048
    batch_size: int = 512
    delay_seconds: float = 5.0


def read_tracing(environ: Mapping[str, str]) -> TracingSettings | None:
    """What `environ` says; None where traces have nowhere to go. Raises `ConfigError`, which does not show the URL."""
    url = _url(environ)
    if url is None or not _is_wanted(environ):
        return None
    _require_usable(url, environ)
    queue_size = _whole("OTEL_BSP_MAX_QUEUE_SIZE", environ, 2048)
    return TracingSettings(
        url=url,
        service_name=environ.get(SERVICE_NAME, "").strip() or None,
        sample_rate=_sample_rate(environ),
        capture_content=environ.get(CAPTURE_CONTENT, "").strip().lower() in _CAPTURING,
        queue_size=queue_size,
        batch_size=min(queue_size, _whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", environ, 512)),
        delay_seconds=_whole("OTEL_BSP_SCHEDULE_DELAY", environ, 5000) / 1000,
    )


def _url(environ: Mapping[str, str]) -> str | None:
    if own := environ.get(TRACES_ENDPOINT, "").strip():
        return own
    base = environ.get(ENDPOINT, "").strip()
    return f"{base.rstrip('/')}/v1/traces" if base else None


def _is_wanted(environ: Mapping[str, str]) -> bool:
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    is_disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not is_disabled and "otlp" in [each.strip() for each in exporters.split(",")]


def _require_usable(url: str, environ: Mapping[str, str]) -> None:
    name = TRACES_ENDPOINT if environ.get(TRACES_ENDPOINT, "").strip() else ENDPOINT
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{name} is no URL; write it as http://HOST:PORT or https://HOST, {WAY_OUT}.")
    protocol = next((environ[each] for each in _PROTOCOLS if environ.get(each)), "http/protobuf")
    if protocol != "http/protobuf":
        raise ConfigError(
            f"The OTLP protocol is {protocol!r}, but traces are sent by 'http/protobuf' alone; set {_PROTOCOLS[0]} to "
            f"that and {TRACES_ENDPOINT} to an address that takes it, {WAY_OUT}."
        )


def _sample_rate(environ: Mapping[str, str]) -> float:
    sampler = environ.get(SAMPLER, "").strip().lower()
    if sampler in _ALL or sampler in _NONE:
        return float(sampler in _ALL)
    if sampler not in _RATIO:
        known = ", ".join(sorted((_ALL | _NONE | _RATIO) - {""}))
        raise ConfigError(f"{SAMPLER} is {sampler!r}; set it to one of {known}, {WAY_OUT}.")
    text = environ.get(SAMPLER_ARGUMENT, "").strip() or "1"
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise ConfigError(f"{SAMPLER_ARGUMENT} is {text!r}; set it to a number from 0 to 1, {WAY_OUT}.")
    return rate


def _whole(name: str, environ: Mapping[str, str], default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise ConfigError(f"{name} is {text!r}; set it to a whole number from 1, {WAY_OUT}.")
    return int(text)
