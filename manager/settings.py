"""What the whole fleet runs with: the `runtime` block of the config, the environment over it, and the tokens.

The environment is handed in, never read here, so that one process can hold several settings and tests stay pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent_service.contract import ENV_TOKEN, ENV_TOKEN_PREVIOUS, EXIT_CONFIG, CamelModel
from manager.errors import ConfigError, ConfigIssue
from manager.webhook_settings import Webhooks

ENV_PREFIX = "AGENT_MANAGER_"
DAY_SECONDS = 86_400

RestartPolicy = Literal["always", "on-failure", "never"]
ExitCode = Annotated[int, Field(ge=0, le=255)]


def _finite(lowest: float, highest: float, description: str, *, default: float) -> Any:
    return Field(default=default, ge=lowest, le=highest, allow_inf_nan=False, description=description)


def _whole(lowest: int, highest: int, description: str, *, default: int) -> Any:
    return Field(default=default, ge=lowest, le=highest, description=description)


class StrictCamelModel(CamelModel):
    """A part of the config file: the text "30" is no number and 1 is no boolean there."""

    model_config = ConfigDict(strict=True, validate_default=True)


class RestartSettings(StrictCamelModel):
    """What happens after an agent's process has ended without being asked to. Delays in seconds."""

    policy: RestartPolicy = Field(
        default="always",
        description="always: after every exit; on-failure: after a crash, not after exit status 0; never.",
    )
    initial_delay_seconds: float = _finite(
        0,
        3600,
        "Wait before the second restart in a row, the first being immediate; doubled after each further crash.",
        default=0.5,
    )
    max_delay_seconds: float = _finite(
        0, DAY_SECONDS, "The longest wait between restarts; at least initialDelaySeconds.", default=60
    )
    healthy_after_seconds: float = _finite(
        0,
        DAY_SECONDS,
        "A process that lived for this long is restarted at once again, and the waits begin anew.",
        default=60,
    )
    max_crashes: int = _whole(
        1,
        1000,
        "After more crashes than this in a row, about as far apart as such processes live, the agent is failed.",
        default=5,
    )
    do_not_retry_exit_codes: tuple[ExitCode, ...] = Field(
        default=(EXIT_CONFIG,),
        strict=False,
        description="Exit statuses that no restart can help: the agent is failed at once.",
    )

    @field_validator("max_delay_seconds")
    @classmethod
    def _not_below_initial_delay(cls, value: float, info: ValidationInfo) -> float:
        initial = info.data.get("initial_delay_seconds", 0)
        if value < initial:
            raise ValueError(f"it must be at least initialDelaySeconds, which is {initial:g}")
        return value


def restart_object(value: object) -> object:
    """The short form of `restart`, a policy's name, as the object it stands for; anything else unchanged."""
    return {"policy": value} if isinstance(value, str) else value


Restart = Annotated[
    RestartSettings,
    BeforeValidator(restart_object, json_schema_input_type=RestartPolicy | RestartSettings),
]


class AgentSettings(StrictCamelModel):
    """What the fleet sets for all agents and each agent may set for itself. Times in seconds, sizes in bytes."""

    drain_timeout_seconds: float = _finite(
        0, DAY_SECONDS, "How long work in flight may go on after a stop before it is cancelled.", default=30
    )
    execute_timeout_seconds: float = _finite(
        0.001, DAY_SECONDS, "How long the manager waits for the answer to one execute (504 after it).", default=300
    )
    queue_while_restarting_seconds: float = _finite(
        0, 3600, "How long an execute waits for an agent that is restarting (503 after it).", default=10
    )
    max_concurrency: int = _whole(1, 100_000, "How many tasks one agent works on at once.", default=256)
    max_queue: int = _whole(0, 1_000_000, "How many tasks wait when all are busy; the next one gets 429.", default=1024)
    max_body_bytes: int = _whole(
        1, 1024**3, "The largest request body that an execute may have (413 over it).", default=10 * 1024**2
    )
    cancel_on_disconnect: bool = Field(
        default=True, description="Whether a task is cancelled when its caller hangs up."
    )
    start_timeout_seconds: float = _finite(
        0.1,
        3600,
        "A process that has not registered after this time is killed and counts as a crash.",
        default=60,
    )
    restart: Restart = Field(
        default_factory=RestartSettings,
        description="When a process that ended is started again: a policy's name, or an object.",
    )


def overlay(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """`upper` (as written, camelCase) over `lower`; `restart` key by key, so that one key does not reset the rest."""
    merged = {**lower, **upper}
    below, above = restart_object(lower.get("restart")), restart_object(upper.get("restart"))
    if isinstance(below, dict) and isinstance(above, dict):
        merged["restart"] = {**below, **above}
    return merged


_MANAGER_URL = re.compile(r"^http://[^\s/?#@]+/?$")


def _manager_url(value: str) -> str:
    try:
        url = urlsplit(value)
        usable = url.scheme == "http" and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable or not _MANAGER_URL.fullmatch(value):
        raise ValueError("write it as http://HOST or http://HOST:PORT, with a port from 1 to 65535 and no path")
    return value.rstrip("/")


ManagerUrl = Annotated[
    str,
    AfterValidator(_manager_url),
    WithJsonSchema({"type": "string", "pattern": _MANAGER_URL.pattern}),
]


def _directory(value: str) -> str:
    if not value.strip() or "\0" in value:
        raise ValueError("name a directory")
    if value.startswith("~"):
        raise ValueError("'~' is not expanded; write the whole path, or one relative to the project directory")
    return value


Directory = Annotated[str, AfterValidator(_directory)]


def _host_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]", value):
        raise ValueError("write a host name, or an IPv6 address in brackets, without scheme, port or '*'")
    return value.lower()


HostName = Annotated[str, AfterValidator(_host_name)]


_TRACING_ENDPOINT = re.compile(r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")


def _tracing_endpoint(value: str) -> str:
    if not _TRACING_ENDPOINT.fullmatch(value):
        raise ValueError("write it as http://HOST:PORT or https://HOST, without user, password or query")
    return value.rstrip("/")


TracingEndpoint = Annotated[
    str,
    AfterValidator(_tracing_endpoint),
    WithJsonSchema({"type": "string", "pattern": _TRACING_ENDPOINT.pattern}),
]


class RuntimeSettings(AgentSettings, BaseSettings):
    """The `runtime` block of the config. Times in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, case_sensitive=True)

    manager_url: ManagerUrl = Field(
        default="http://127.0.0.1:8000",
        description="Where the manager listens and where agents and the command line find it: http://HOST[:PORT].",
    )
    log_directory: Directory = Field(
        default="logs", description="One log per agent; relative to the project directory."
    )
    log_max_bytes: int = _whole(
        4096,
        1024**4,
        "A log file that has grown to this size is rotated; its agent goes on in a new one.",
        default=64 * 1024**2,
    )
    log_max_files: int = _whole(
        2, 10_000, "How many files each agent's log has at the most, the one that is written included.", default=5
    )
    state_directory: Directory = Field(
        default=".state", description="The database of what must survive; relative to the project directory."
    )
    heartbeat_interval_seconds: float = _finite(
        0.05, 3600, "How often each agent tells the manager that it is alive.", default=5
    )
    heartbeat_ttl_seconds: float = _finite(
        0.1,
        DAY_SECONDS,
        "After this silence an agent is unresponsive or lost; longer than heartbeatIntervalSeconds.",
        default=30,
    )
    kill_grace_seconds: float = _finite(
        0, 600, "From the SIGTERM that ends a process to the SIGKILL, once its drain timeout is over.", default=5
    )
    lost_retention_seconds: float = _finite(
        0, 30 * DAY_SECONDS, "How long a lost agent that was started elsewhere stays listed.", default=3600
    )
    event_retention_days: int = _whole(1, 3650, "How many days of events are kept.", default=30)
    event_retention_count: int = _whole(
        1000, 100_000_000, "How many events are kept at most, the newest.", default=100_000
    )
    max_open_requests: int = _whole(
        1, 1_000_000, "How many executes, of all agents, are under way or wait at once (503 over it).", default=10_000
    )
    idempotency_retention_seconds: float = _finite(
        1, 30 * DAY_SECONDS, "How long the answer to an execute with an Idempotency-Key is kept.", default=DAY_SECONDS
    )
    idempotency_max_answer_bytes: int = _whole(
        0,
        64 * 1024**2,
        "The largest answer that is kept for its Idempotency-Key; of another, replays get 409.",
        default=1024**2,
    )
    idempotency_max_stored_bytes: int = _whole(
        0,
        1024**4,
        "All kept answers together; over it the oldest are dropped, and their replays get 409.",
        default=256 * 1024**2,
    )
    webhooks: Webhooks = Field(
        default=(), strict=False, description="Whom the manager tells of what happens, by signed HTTP requests."
    )
    allowed_hosts: tuple[HostName, ...] = Field(
        default=(),
        strict=False,
        description="Host header values, without port, accepted besides loopback and the bind host.",
    )
    tracing_endpoint: TracingEndpoint | None = Field(
        default=None,
        description="Where traces are sent by OTLP over HTTP, without /v1/traces; OTEL_EXPORTER_OTLP_ENDPOINT wins.",
    )
    tracing_sample_rate: float = _finite(
        0, 1, "The share of the traces begun here that are recorded; OTEL_TRACES_SAMPLER wins.", default=1
    )
    tracing_capture_content: bool = Field(
        default=False, description="Whether traces hold prompts, answers and what tools are given and give."
    )
    watch_config: bool = Field(
        default=False, description="Whether a change of the config file is taken over by itself, as with a reload."
    )

    @field_validator("heartbeat_ttl_seconds")
    @classmethod
    def _longer_than_interval(cls, value: float, info: ValidationInfo) -> float:
        interval = info.data.get("heartbeat_interval_seconds", 0)
        if value <= interval:
            raise ValueError(f"it must be longer than heartbeatIntervalSeconds, which is {interval:g}")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but what is handed in: `load` puts the environment over the file."""
        return (init_settings,)

    @classmethod
    def load(cls, values: Mapping[str, Any], environ: Mapping[str, str]) -> RuntimeSettings:
        """Settings from the `runtime` object of the file with `environ` over it. Raises `ValidationError`."""
        return cls(**overlay(values, EnvironmentSource(cls, environ)()))

    @property
    def manager_port(self) -> int:
        """The port in `manager_url`, or HTTP's own."""
        return urlsplit(self.manager_url).port or 80

    @property
    def manager_host(self) -> str:
        """The host in `manager_url`, an IPv6 address without its brackets."""
        return urlsplit(self.manager_url).hostname or ""

    def agent_defaults(self) -> dict[str, Any]:
        """What an agent that says nothing gets, keyed and valued as in the file."""
        return self.model_dump(mode="json", include=set(AgentSettings.model_fields))


def env_name(field_name: str) -> str:
    """The environment variable that overrides a setting: `AGENT_MANAGER_DRAIN_TIMEOUT_SECONDS`."""
    return ENV_PREFIX + field_name.upper()


class EnvironmentSource(PydanticBaseSettingsSource):
    """`AGENT_MANAGER_…` variables as values for the camelCase keys they override.

    Numbers and booleans are converted, `allowedHosts` is a comma-separated list, `restart` the policy's name.
    What cannot be converted stays text, for the model to refuse. An empty variable counts as unset, and one that
    names no setting is somebody else's: Kubernetes sets AGENT_MANAGER_PORT for a service of that name.
    """

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self._environ = environ

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        """The text of the variable, the key it overrides, and whether it must be decoded: never by the library."""
        return self._environ.get(env_name(field_name)) or None, field.alias or field_name, False

    def prepare_field_value(self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool) -> Any:
        """The text as the setting's type, where it reads as one."""
        try:
            if field_name == "allowed_hosts":
                return [host.strip() for host in value.split(",") if host.strip()]
            return TypeAdapter[Any](field.annotation or str).validate_strings(value)
        except ValidationError:
            return value

    def __call__(self) -> dict[str, Any]:
        """`{key: value}` of the variables that are set."""
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            text, key, is_complex = self.get_field_value(field, name)
            if text is not None:
                found[key] = self.prepare_field_value(name, field, text, is_complex)
        return found


@dataclass(frozen=True)
class Secrets:
    """The tokens that manager and adapters accept; both None when tokens are off."""

    token: SecretStr | None = None
    token_previous: SecretStr | None = None

    def tokens(self) -> tuple[str, ...]:
        """Every accepted token, the current one first; empty when tokens are off."""
        return tuple(token.get_secret_value() for token in (self.token, self.token_previous) if token)


def read_secrets(environ: Mapping[str, str]) -> Secrets:
    """The tokens in `environ`; an empty variable counts as unset. Raises `ConfigError`, which shows no value."""
    current, previous = environ.get(ENV_TOKEN, ""), environ.get(ENV_TOKEN_PREVIOUS, "")
    issues = [
        ConfigIssue(name, "white space or a character that is no visible ASCII", "make a token of visible ASCII only")
        for name, token in ((ENV_TOKEN, current), (ENV_TOKEN_PREVIOUS, previous))
        if not re.fullmatch(r"[!-~]*", token)
    ]
    if previous and not current:
        issues.append(
            ConfigIssue(ENV_TOKEN_PREVIOUS, f"a token without {ENV_TOKEN}", f"set {ENV_TOKEN} too, or unset this one")
        )
    if issues:
        raise ConfigError("the environment", issues)
    return Secrets(SecretStr(current) if current else None, SecretStr(previous) if previous else None)
