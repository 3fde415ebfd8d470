"""The manager itself: health, readiness, metrics, shutdown, and the description of this API."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agent_service.contract import HealthAnswer
from manager.api.operation import Operation, json_response, read_model
from manager.errors import NotReady
from manager.telemetry.self_report import SelfReport


class ReadyAnswer(BaseModel):
    """Answer of `GET /ready`."""

    status: Literal["ready"] = "ready"


class ShutdownRequest(BaseModel):
    """Body of `POST /api/manager/shutdown`, which may be empty. `leave_agents`: they go on for the next manager."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    leave_agents: bool = False


class ShutdownAnswer(BaseModel):
    """Answer of `POST /api/manager/shutdown`: `pid` is the process whose end is the end of the drain."""

    status: Literal["stopping"] = "stopping"
    pid: int


class ManagerEndpoints:
    """`is_ready` says whether agents can be asked for; `shut_down` (whether to leave the agents) returns at once."""

    def __init__(
        self,
        *,
        is_ready: Callable[[], bool],
        shut_down: Callable[[bool], None],
        report: Callable[[], Awaitable[SelfReport]],
        render_metrics: Callable[[], Awaitable[bytes]],
        metrics_content_type: str,
    ) -> None:
        self._is_ready = is_ready
        self._shut_down = shut_down
        self._report = report
        self._render_metrics = render_metrics
        self._metrics_content_type = metrics_content_type
        self.openapi_document: dict[str, Any] = {}

    def operations(self) -> list[Operation]:
        """What this module serves."""
        return [
            Operation("GET", "/health", "Whether the manager's event loop answers", self.health, HealthAnswer),
            Operation("GET", "/ready", "Whether the manager takes work", self.ready, ReadyAnswer, problems=(503,)),
            Operation("GET", "/api/manager", "How the manager itself is", self.manager, SelfReport),
            Operation("GET", "/metrics", "Prometheus exposition of manager and agents", self.metrics, "text/plain"),
            Operation("GET", "/api/openapi.json", "This document", self.openapi, "application/json"),
            Operation(
                "POST",
                "/api/manager/shutdown",
                "End the manager, after every agent was drained or leaving them all as they are",
                self.shutdown,
                ShutdownAnswer,
                body=ShutdownRequest,
                status=202,
                problems=(400, 413),
                guarded=True,
            ),
        ]

    async def health(self, request: Request) -> Response:
        return json_response(HealthAnswer())

    async def ready(self, request: Request) -> Response:
        if not self._is_ready():
            raise NotReady("The manager is starting or stopping; try again in a moment.")
        return json_response(ReadyAnswer())

    async def manager(self, request: Request) -> Response:
        return json_response(await self._report())

    async def metrics(self, request: Request) -> Response:
        return Response(await self._render_metrics(), headers={"Content-Type": self._metrics_content_type})

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(self.openapi_document)

    async def shutdown(self, request: Request) -> Response:
        asked = await read_model(request, ShutdownRequest, example='{"leave_agents": false}', may_be_empty=True)
        self._shut_down(asked.leave_agents)
        return json_response(ShutdownAnswer(pid=os.getpid()), 202)
