"""What of an agent is traced: shown, set while it runs, and set back to what its definition says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from agent_service.contract import Timestamp
from manager.actor import actor_of
from manager.api.operation import Operation, json_response, read_model
from manager.errors import StateConflict
from manager.registry.registry import Registry
from manager.supervision.fleet import Fleet
from manager.supervision.views import AgentView
from manager.telemetry.tracing.policies import Policies

_EXAMPLE = '{"enabled": true, "sample_rate": 0.1}'

log = structlog.get_logger(__name__)


class TracingChange(BaseModel):
    """What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool | None = None
    sample_rate: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)

    @model_validator(mode="after")
    def _says_something(self) -> TracingChange:
        if self.enabled is None and self.sample_rate is None:
            raise ValueError("give enabled, sample_rate (0 to 1), or both")
        return self


class AgentTracing(BaseModel):
    """`exporting`: traces have an endpoint. `sample_rate`: the share of those that begin here. `overridden`: a person
    has set it, `set_by` whom and when; it holds until it is set back or the agent leaves the config.
    """

    id: str
    exporting: bool
    enabled: bool
    sample_rate: float
    overridden: bool
    set_by: str | None
    set_at: Timestamp | None


class TracingEndpoints:
    """The manager decides for what it forwards; adapters are told, for what comes to them directly.

    `tell` (agent id, service URL) tells one of them what is set now.
    """

    def __init__(
        self,
        fleet: Fleet,
        registry: Registry,
        policies: Policies,
        tell: Callable[[str, str], Awaitable[None]],
        *,
        is_exporting: bool,
    ) -> None:
        self._fleet = fleet
        self._registry = registry
        self._policies = policies
        self._tell = tell
        self._is_exporting = is_exporting

    def operations(self) -> list[Operation]:
        """What this module serves."""
        path = "/api/agent-services/{agent_id}/tracing"
        problems = (404, 409, 503)
        return [
            Operation("GET", path, "What of the agent is traced", self.show, AgentTracing, problems=(404,)),
            Operation(
                "PUT",
                path,
                "Trace the agent or not, and what share of its requests, until it is set back",
                self.change,
                AgentTracing,
                body=TracingChange,
                problems=(400, *problems, 413),
                guarded=True,
            ),
            Operation(
                "DELETE",
                path,
                "Trace the agent as its definition says",
                self.reset,
                AgentTracing,
                problems=problems,
                guarded=True,
            ),
        ]

    async def show(self, request: Request) -> Response:
        return self._answer(self._fleet.agent(request.path_params["agent_id"]).id)

    async def change(self, request: Request) -> Response:
        view = self._find(request)
        asked = await read_model(request, TracingChange, example=_EXAMPLE)
        actor = actor_of(request.headers)
        await self._policies.set(
            view.id, enabled=asked.enabled, sample_rate=asked.sample_rate, actor=actor, managed=view.managed
        )
        return await self._announced(view.id, actor)

    async def reset(self, request: Request) -> Response:
        view = self._find(request)
        actor = actor_of(request.headers)
        await self._policies.reset(view.id)
        return await self._announced(view.id, actor)

    def _find(self, request: Request) -> AgentView:
        """The agent. Raises `UnknownAgent`, and `StateConflict` where nothing can be traced."""
        view = self._fleet.agent(request.path_params["agent_id"])
        if not self._is_exporting:
            raise StateConflict(
                "Traces have nowhere to go; set runtime.tracingEndpoint in the config, or OTEL_EXPORTER_OTLP_ENDPOINT "
                "in the manager's environment, and start the manager again.",
                agent_id=view.id,
                state=view.state,
            )
        if view.sidecar:
            raise StateConflict(
                f"{view.id} is a sidecar and has no tasks to trace.", agent_id=view.id, state=view.state
            )
        return view

    async def _announced(self, agent_id: str, actor: str) -> Response:
        now = self._policies.of(agent_id)
        log.info("Tracing set", agent_id=agent_id, actor=actor, enabled=now.enabled, sample_rate=now.sample_rate)
        instances = [each for each in self._registry.of(agent_id) if not each.expired]
        await asyncio.gather(*(self._tell(agent_id, each.service_url) for each in instances))
        return self._answer(agent_id)

    def _answer(self, agent_id: str) -> Response:
        now, record = self._policies.of(agent_id), self._policies.record_of(agent_id)
        return json_response(
            AgentTracing(
                id=agent_id,
                exporting=self._is_exporting,
                enabled=now.enabled,
                sample_rate=now.sample_rate,
                overridden=record is not None,
                set_by=None if record is None else record.set_by,
                set_at=None if record is None else datetime.fromisoformat(record.set_at),
            )
        )
