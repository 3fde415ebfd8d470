"""The wire models that manager and adapter share. Imports pydantic and the standard library only.

The config file and the registration payload are camelCase on the wire, everything else is snake_case.
Times are RFC 3339 UTC strings with milliseconds; durations carry their unit in the name.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, PlainSerializer, StringConstraints
from pydantic.alias_generators import to_camel

from agent_service.definition import AgentDefinition, Tracing

CONTRACT_VERSION = "1.0"
TOKEN_HEADER = "X-Manager-Token"
REQUEST_ID_HEADER = "X-Request-ID"
TASK_ID_HEADER = "X-Task-ID"
"""On an error: the task had begun, so what it does may have been done in part."""
CALL_HEADER = "X-Manager-Call"
"""From the manager: the name of a call with an Idempotency-Key, 64 hexadecimal digits, and how long it may take, as in
`<name>;timeout=600`. On an answer that is told once more its name; on a 404 `CALL_NOT_BEGUN`, where that is certain.
"""
CALL_NOT_BEGUN = "not-begun"
PROBLEM_MEDIA_TYPE = "application/problem+json"
EVENT_STREAM_MEDIA_TYPE = "text/event-stream"

# What a managed process is told by environment variables, whatever language it is written in.
ENV_AGENT_ID = "AGENT_ID"
ENV_INSTANCE_ID = "AGENT_INSTANCE_ID"
ENV_HOST = "AGENT_HOST"
ENV_PORT = "AGENT_PORT"
ENV_MANAGER_URL = "AGENT_MANAGER_URL"
ENV_LOG_FILE = "AGENT_LOG_FILE"
ENV_LOG_MAX_BYTES = "AGENT_LOG_MAX_BYTES"
ENV_LOG_MAX_FILES = "AGENT_LOG_MAX_FILES"
ENV_SECRETS = "AGENT_SECRETS"
ENV_INITIAL_STATUS = "AGENT_INITIAL_STATUS"
ENV_LISTEN_FD = "AGENT_LISTEN_FD"
ENV_SPEC = "AGENT_SPEC"
ENV_SPEC_FILE = "AGENT_SPEC_FILE"
ENV_STATE_DIRECTORY = "AGENT_STATE_DIRECTORY"
ENV_FLEET = "AGENT_FLEET"
ENV_TOKEN = "MANAGER_TOKEN"
ENV_TOKEN_PREVIOUS = "MANAGER_TOKEN_PREVIOUS"

EXIT_CONFIG = 78
"""Exit status (sysexits EX_CONFIG) of an adapter that no restart can help: a person must change something."""
EXIT_PORT_IN_USE = 69
"""Exit status (sysexits EX_UNAVAILABLE) of an adapter whose port another process holds."""


def rfc3339(moment: datetime) -> str:
    """`moment` (timezone-aware) as an RFC 3339 UTC string with milliseconds: `2026-01-02T03:04:05.678Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Timestamp = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
AgentId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,63}$")]
InstanceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]


def _callable_url(value: str) -> str:
    try:
        url = urlsplit(value)
        usable = bool((url.hostname or "").encode("idna")) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("write it as http://HOST:PORT, with a host name or address and a port from 1 to 65535")
    return value


ServiceUrl = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[^\s/?#@]+/?$", max_length=2048),
    AfterValidator(_callable_url),
]


class AdapterStatus(StrEnum):
    """Lifecycle as the adapter sees it."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"


class AdapterAction(StrEnum):
    """What `POST /action` of an adapter takes."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    RESTART = "restart"


class CamelModel(BaseModel):
    """camelCase on the wire, frozen, unknown keys refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
    )


class WireModel(BaseModel):
    """snake_case on the wire, frozen; unknown keys are ignored, so that newer peers can say more."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class AgentSpec(CamelModel):
    """All that one adapter needs to know of its agent. Times in seconds.

    `definition`: the agent itself, where its entry point is `react`. `state_directory`: this agent's alone, for what it
    remembers.
    """

    id: AgentId
    name: str
    description: str = ""
    entry_point: str | None = "dummy"
    default_model: str | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    drain_timeout_seconds: float = Field(default=30, ge=0, le=86_400)
    max_concurrency: int = Field(default=256, ge=1, le=100_000)
    max_queue: int = Field(default=1024, ge=0, le=1_000_000)
    max_body_bytes: int = Field(default=10 * 1024 * 1024, ge=1)
    cancel_on_disconnect: bool = True
    definition: AgentDefinition | None = None
    state_directory: str | None = None


class Registration(BaseModel):
    """Body of `POST /api/agent-services/register`."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        extra="ignore",
        frozen=True,
    )

    id: AgentId
    service_url: ServiceUrl
    instance_id: InstanceId
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class RegistrationAnswer(WireModel):
    """How often the manager expects a heartbeat, and after what silence it gives the instance up."""

    heartbeat_interval_seconds: float
    heartbeat_ttl_seconds: float
    tracing: Tracing | None = None
    """What a person has set for the agent; None: as its definition says."""


class CurrentTask(WireModel):
    """The oldest task in flight."""

    task_id: str
    started_at: Timestamp


class StatusReport(WireModel):
    """Answer of the adapter's `GET /status`."""

    status: AdapterStatus
    current_task: CurrentTask | None = None
    in_flight: int = Field(default=0, ge=0)
    queued: int = Field(default=0, ge=0)
    tasks_total: int = Field(default=0, ge=0)
    tasks_failed: int = Field(default=0, ge=0)
    drain_deadline: Timestamp | None = None


class Heartbeat(StatusReport):
    """Body of `POST /api/agent-services/heartbeat`: who, and its status report."""

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True, serialize_by_alias=True)

    id: AgentId
    instance_id: InstanceId = Field(alias="instanceId")
    status: AdapterStatus = AdapterStatus.RUNNING


class Unregistration(WireModel):
    """Body of `POST /api/agent-services/unregister`."""

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True, serialize_by_alias=True)

    id: AgentId
    instance_id: InstanceId = Field(alias="instanceId")


class AgentInfo(WireModel):
    """Answer of the adapter's `GET /info`."""

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True, serialize_by_alias=True)

    id: AgentId
    name: str
    description: str = ""
    default_model: str | None = Field(default=None, alias="defaultModel")
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    entry_point: str | None = None
    instance_id: InstanceId
    pid: int
    started_at: Timestamp
    contract_version: str = CONTRACT_VERSION
    supports_streaming: bool = False


class ModelSummary(WireModel):
    """Which model answers; never its key."""

    provider: str
    model: str
    base_url: str | None = None


class ToolServerState(StrEnum):
    """`connecting`: for the first time, or at once after a loss, with the tools still offered. `unavailable`: the last
    attempt failed, the tools are absent, and the next attempt comes by itself.
    """

    CONNECTING = "connecting"
    READY = "ready"
    UNAVAILABLE = "unavailable"


class ToolServerHealth(WireModel):
    """How one MCP server of an agent is. `since`: when the state began. `tools`: how many the agent may use.

    `ping_ms`: how long it took to answer the newest ping. `warnings`: what is wrong with its tools.
    """

    name: str
    transport: Literal["http", "stdio", "sse"]
    fail_mode: Literal["open", "closed"] = "open"
    state: ToolServerState
    tools: int
    last_error: str | None
    since: Timestamp
    ping_ms: float | None
    reconnects: int
    calls_total: int
    calls_failed: int
    warnings: list[str]


class DefinitionSummary(WireModel):
    """What an agent from data is made of now. `revision`: how often it was reloaded. `servers`: their health."""

    model: ModelSummary
    memory: str
    servers: list[ToolServerHealth]
    structured_output: bool
    guardrails: bool
    revision: int


class DefinedAgentInfo(AgentInfo):
    """Answer of `GET /info` where the agent is described by data."""

    definition: DefinitionSummary


class ReloadRequest(WireModel):
    """Body of the adapter's `POST /reload`: the whole definition, which takes the old one's place."""

    definition: AgentDefinition


class ReloadAnswer(WireModel):
    """What the reload changed, as paths in the definition, and what there is now."""

    changed: list[str]
    definition: DefinitionSummary


class ThreadEntry(WireModel):
    """One conversation in a list. `updated_at`: its newest step."""

    thread_id: str
    updated_at: Timestamp


class ThreadPage(WireModel):
    """Answer of `GET /threads`, newest first. `next`: the `before` of the next page; null on the last."""

    threads: list[ThreadEntry]
    next: str | None = None


class Thread(ThreadEntry):
    """Answer of `GET /threads/{thread_id}`. `unfinished`: its last turn can be resumed."""

    unfinished: bool
    messages: list[dict[str, Any]]


class TracingState(WireModel):
    """Answer of the adapter's `/tracing`. `exporting`: traces have an endpoint; `overridden`: set while it runs."""

    exporting: bool
    enabled: bool
    sample_rate: float
    overridden: bool


class ExecuteRequest(WireModel):
    """Body of `POST /execute`."""

    parameters: dict[str, JsonValue]


class ExecuteAnswer(WireModel):
    """What a finished task answers, streamed (as the `result` event) or not."""

    task_id: str
    result: Any
    duration_ms: float


class ActionRequest(WireModel):
    """Body of the adapter's `POST /action`. `timeout_seconds` overrides the drain timeout of stop and restart."""

    action: AdapterAction
    timeout_seconds: float | None = Field(default=None, ge=0, le=86_400, allow_inf_nan=False)


class ManagerLocation(WireModel):
    """Body of the adapter's `PUT /manager`: where the manager that speaks is to be found from now on."""

    url: ServiceUrl


class LogLines(WireModel):
    """Answer of `GET /logs?lines=N`: the newest N, oldest first."""

    lines: list[str]


class Problem(BaseModel):
    """RFC 9457 problem document. `detail` is a sentence that tells the reader what to do.

    `task_id`: of the task that had begun, where it is one's answer.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    agent_id: str | None = None
    state: str | None = None
    task_id: str | None = None


class HealthAnswer(WireModel):
    """Answer of `GET /health`."""

    status: Literal["ok"] = "ok"
