"""The agents: listing, one of them, its adapter's own status and info, and actions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from manager.actor import actor_of
from manager.api.operation import Operation, json_response, read_model
from manager.supervision.fleet import Fleet
from manager.supervision.introspection import Introspection
from manager.supervision.states import AgentAction, Strategy
from manager.supervision.views import AgentDetail, AgentView

_EXAMPLE = '{"action": "pause", "reason": "maintenance"}'


class AgentList(BaseModel):
    """Every known agent."""

    agents: list[AgentView]


class AgentActionRequest(BaseModel):
    """`timeout_seconds` overrides the agent's drain timeout, for stop and restart; `strategy` is for restart alone,
    `instances` for scale, which demands it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # One list, so that a wrong word is told all the right ones in one breath.
    action: Literal["start", "pause", "resume", "stop", "restart", "kill", "scale"]
    strategy: Strategy | None = None
    instances: int | None = Field(default=None, ge=1, le=64)
    reason: str | None = Field(default=None, max_length=1000)
    timeout_seconds: float | None = Field(default=None, ge=0, le=86_400, allow_inf_nan=False)

    @model_validator(mode="after")
    def _options_fit_the_action(self) -> AgentActionRequest:
        if (self.action == "scale") != (self.instances is not None):
            raise ValueError("instances goes with scale, and scale needs it: a whole number from 1 to 64")
        if self.strategy is not None and self.action != "restart":
            raise ValueError("strategy goes with restart only")
        return self


class AdapterAnswer(BaseModel):
    """The adapter's own answer, its keys at the top, and the manager's view of the agent beside them."""

    model_config = ConfigDict(extra="allow")

    manager: AgentView


class Agents:
    """The endpoints; they ask the fleet, and agents of themselves."""

    def __init__(self, fleet: Fleet, introspection: Introspection) -> None:
        self._fleet = fleet
        self._introspection = introspection

    def operations(self) -> list[Operation]:
        """What this module serves."""
        one = "/api/agent-services/{agent_id}"
        return [
            Operation("GET", "/api/agent-services", "Every known agent", self.all, AgentList),
            Operation(
                "GET", one, "One agent, its spec and its newest events", self.one, AgentDetail, problems=(404, 503)
            ),
            Operation(
                "GET", f"{one}/status", "The adapter's own status", self.status, AdapterAnswer, problems=(404, 409, 503)
            ),
            Operation(
                "GET", f"{one}/info", "The adapter's own info", self.info, AdapterAnswer, problems=(404, 409, 503)
            ),
            Operation(
                "POST",
                f"{one}/action",
                "Start, pause, resume, stop, restart, kill or scale an agent",
                self.act,
                AgentView,
                body=AgentActionRequest,
                status=202,
                problems=(400, 404, 409, 413, 502, 503, 504),
                guarded=True,
            ),
        ]

    async def all(self, request: Request) -> Response:
        return json_response(AgentList(agents=self._fleet.agents()))

    async def one(self, request: Request) -> Response:
        return json_response(await self._fleet.detail(request.path_params["agent_id"]))

    async def status(self, request: Request) -> Response:
        return self._beside(request, await self._introspection.status(request.path_params["agent_id"]))

    async def info(self, request: Request) -> Response:
        return self._beside(request, await self._introspection.info(request.path_params["agent_id"]))

    async def act(self, request: Request) -> Response:
        agent_id = request.path_params["agent_id"]
        # Before the body: an unknown id is what the caller should hear of first.
        self._fleet.agent(agent_id)
        asked = await read_model(request, AgentActionRequest, example=_EXAMPLE)
        return json_response(await self._do(agent_id, asked, actor_of(request.headers)), 202)

    async def _do(self, agent_id: str, asked: AgentActionRequest, actor: str) -> AgentView:
        if asked.instances is not None:
            return await self._fleet.scale(agent_id, asked.instances, actor=actor, reason=asked.reason)
        return await self._fleet.act(
            agent_id,
            AgentAction(asked.action),
            actor=actor,
            reason=asked.reason,
            timeout_seconds=asked.timeout_seconds,
            strategy=asked.strategy,
        )

    def _beside(self, request: Request, answer: dict[str, Any]) -> Response:
        view = self._fleet.agent(request.path_params["agent_id"])
        return JSONResponse({**answer, "manager": view.model_dump(mode="json")})
