"""The adapter's endpoints besides /execute: who it is, how it does, what it logged, what it shall do."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from agent_service.contract import (
    ActionRequest,
    AdapterAction,
    AgentInfo,
    AgentSpec,
    DefinedAgentInfo,
    DefinitionSummary,
    HealthAnswer,
    LogLines,
    ManagerLocation,
)
from agent_service.errors import BadRequest, LogUnreadable
from agent_service.http.body import read_object
from agent_service.lifecycle import Lifecycle
from agent_service.logs import LogReader
from agent_service.manager_address import ManagerAddress
from agent_service.tasks import Tasks

DEFAULT_LINES = 200
MAX_LINES = 10_000
MAX_ACTION_BYTES = 64 * 1024
ACTION_EXAMPLE = '{"action": "pause"}'
MANAGER_EXAMPLE = '{"url": "http://127.0.0.1:8000"}'


class Endpoints:
    """One method per address."""

    def __init__(
        self,
        spec: AgentSpec,
        lifecycle: Lifecycle,
        tasks: Tasks,
        *,
        instance_id: str,
        started_at: datetime,
        supports_streaming: bool,
        read_log: LogReader,
        manager: ManagerAddress,
        summary: Callable[[], DefinitionSummary] | None = None,
    ) -> None:
        self._summary = summary
        self._lifecycle = lifecycle
        self._manager = manager
        self._tasks = tasks
        self._read_log = read_log
        self._info = AgentInfo(
            id=spec.id,
            name=spec.name,
            description=spec.description,
            default_model=spec.default_model,
            metadata=spec.metadata,
            entry_point=spec.entry_point,
            instance_id=instance_id,
            pid=os.getpid(),
            started_at=started_at,
            supports_streaming=supports_streaming,
        )

    async def health(self, request: Request) -> Response:
        return _json(HealthAnswer())

    async def info(self, request: Request) -> Response:
        if self._summary is None:
            return _json(self._info)
        return _json(DefinedAgentInfo(**self._info.model_dump(), definition=self._summary()))

    async def status(self, request: Request) -> Response:
        return _json(self._tasks.report())

    async def action(self, request: Request) -> Response:
        asked = parse_action(await read_object(request, MAX_ACTION_BYTES, example=ACTION_EXAMPLE))
        self._lifecycle.act(asked.action, asked.timeout_seconds)
        return _json(self._tasks.report(), status=202)

    async def manager(self, request: Request) -> Response:
        told = parse_location(await read_object(request, MAX_ACTION_BYTES, example=MANAGER_EXAMPLE))
        self._manager.move(told.url)
        return _json(told)

    async def logs(self, request: Request) -> Response:
        wanted = parse_lines(request.query_params.get("lines", str(DEFAULT_LINES)))
        try:
            lines = await self._read_log(wanted)
        except OSError as error:
            raise LogUnreadable(
                f"The log file cannot be read ({error.strerror}); check its path and permissions."
            ) from error
        return _json(LogLines(lines=lines))

    async def metrics(self, request: Request) -> Response:
        body, content_type = self._tasks.metrics.exposition(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})


def parse_action(body: dict[str, object]) -> ActionRequest:
    """The action asked for. Raises `BadRequest` with a sentence that names what is allowed."""
    allowed = ", ".join(AdapterAction)
    action = body.get("action")
    if action is None:
        raise BadRequest(f'The body has no "action"; send one of {allowed}, such as {ACTION_EXAMPLE}.')
    if action not in list(AdapterAction):
        raise BadRequest(f"The action {action!r} is unknown; send one of {allowed}.")
    try:
        return ActionRequest.model_validate(body)
    except ValidationError as error:
        what = error.errors(include_url=False)[0]["msg"]
        raise BadRequest(
            f'"timeout_seconds" must be a number of seconds from 0 to 86400 ({what}); correct it or leave it out.'
        ) from error


def parse_location(body: dict[str, object]) -> ManagerLocation:
    """Where the manager is. Raises `BadRequest`."""
    try:
        return ManagerLocation.model_validate(body)
    except ValidationError as error:
        what = error.errors(include_url=False)[0]["msg"]
        raise BadRequest(f'"url" must be that of the manager ({what}); send one such as {MANAGER_EXAMPLE}.') from error


def parse_lines(text: str) -> int:
    """The number of log lines asked for. Raises `BadRequest`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= MAX_LINES):
        raise BadRequest(f'"lines" must be a whole number from 1 to {MAX_LINES}, not {text[:40]!r}.')
    return int(text)


def _json(model: BaseModel, status: int = 200) -> Response:
    return Response(model.model_dump_json(), status_code=status, media_type="application/json")
