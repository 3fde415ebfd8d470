"""The config: what is in force, how the file differs from it, and taking the file over."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from manager.actor import actor_of
from manager.api.operation import Operation, json_response
from manager.specs.diff import ConfigDiff
from manager.supervision.reloading import Reloader

_PATH = "/api/config"


class ConfigAnswer(BaseModel):
    """Answer of `GET /api/config`: as in the file, defaults filled in; references as such, secrets hidden."""

    path: str
    runtime: dict[str, Any]
    agents: list[dict[str, Any]]


class ConfigEndpoints:
    """The endpoints; they ask the reloader."""

    def __init__(self, reloader: Reloader) -> None:
        self._reloader = reloader

    def operations(self) -> list[Operation]:
        """What this module serves."""
        return [
            Operation("GET", _PATH, "The config that is in force", self.running, ConfigAnswer),
            Operation(
                "GET", f"{_PATH}/diff", "What a reload would change", self.difference, ConfigDiff, problems=(422,)
            ),
            Operation(
                "POST",
                f"{_PATH}/reload",
                "Take the config file over; agents start, drain and restart from now on",
                self.reload,
                ConfigDiff,
                status=202,
                problems=(400, 422, 503),
                guarded=True,
            ),
        ]

    async def running(self, request: Request) -> Response:
        config = self._reloader.running
        return json_response(
            ConfigAnswer(
                path=str(config.path),
                runtime=config.runtime.model_dump(mode="json"),
                agents=[agent.to_public() for agent in config.agents],
            )
        )

    async def difference(self, request: Request) -> Response:
        return json_response(await self._reloader.plan())

    async def reload(self, request: Request) -> Response:
        return json_response(await self._reloader.apply(actor=actor_of(request.headers)), 202)
