"""One agent as API, command line and dashboard show it: one model, so that they cannot disagree."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agent_service.contract import CurrentTask, Timestamp
from manager.registry.circuit import CircuitState
from manager.supervision.states import AgentAction, AgentState, DesiredState


class View(BaseModel):
    """Frozen, snake_case on the wire."""

    model_config = ConfigDict(frozen=True)


class LastExit(View):
    """How the agent's newest process that ended, ended. `code` and `signal` exclude each other."""

    code: int | None
    signal: int | None
    reason: str
    at: Timestamp


class InstanceView(View):
    """One process of an agent, or one registration of an agent from elsewhere."""

    instance_id: str
    pid: int | None
    service_url: str | None
    ready: bool
    draining: bool
    started_at: Timestamp | None
    last_heartbeat_at: Timestamp | None
    in_flight: int
    circuit: CircuitState = CircuitState.CLOSED
    cpu_percent: float | None
    rss_bytes: int | None


class AgentView(View):
    """A row of `GET /api/agent-services`."""

    id: str
    name: str
    description: str
    entry_point: str | None
    managed: bool
    """False for an agent that was started elsewhere and registered itself."""
    sidecar: bool = False
    """A process that others use; it takes no tasks."""
    depends_on: list[str] = Field(default_factory=list)
    state: AgentState
    state_reason: str | None
    """A sentence, where the state needs one: why it failed, when the next start is due."""
    desired_state: DesiredState
    ready: bool
    service_url: str | None
    pid: int | None
    port: int | None
    instance_id: str | None
    registered_at: Timestamp | None
    last_heartbeat_at: Timestamp | None
    started_at: Timestamp | None
    restarts: int
    next_start_at: Timestamp | None
    last_exit: LastExit | None
    in_flight: int
    queued: int
    """Requests that wait: in the manager for a slot, and in the adapters."""
    circuit: CircuitState = CircuitState.CLOSED
    """Not closed: no instance answers, and requests get 503."""
    tasks_total: int
    tasks_failed: int
    current_task: CurrentTask | None
    drain_deadline: Timestamp | None
    """Where it is being stopped: until when its tasks may finish; what is left is cancelled then."""
    stop_deadline: Timestamp | None = None
    """And by when it has ended, whatever it does: `killGraceSeconds` after the drain deadline comes SIGKILL."""
    cpu_percent: float | None
    rss_bytes: int | None
    instances: list[InstanceView] = Field(default_factory=list)
    """Oldest first. What stands above of one process is the newest's that is ready, else the newest's."""
    instances_wanted: int = 1
    metadata: dict[str, JsonValue]
    actions: list[AgentAction]
    """The actions that the state allows now, in the order of the buttons."""


class AgentDetail(AgentView):
    """Answer of `GET /api/agent-services/{id}`: the row, the spec (references, never values), newest events."""

    spec: dict[str, Any] | None
    events: list[dict[str, Any]]
