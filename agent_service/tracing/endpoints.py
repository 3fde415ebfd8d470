"""The address at which an adapter is told whether to trace, while it runs."""

from __future__ import annotations

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from agent_service.contract import TracingState
from agent_service.definition import Tracing
from agent_service.errors import BadRequest
from agent_service.http.body import read_object
from agent_service.issues import issues_of, unknown_keys
from agent_service.tracing.port import TaskTracing

EXAMPLE = '{"enabled": true, "sample_rate": 0.1}'
_MAX_BYTES = 64 * 1024


class TracingEndpoints:
    """One method per address."""

    def __init__(self, tracing: TaskTracing) -> None:
        self._tracing = tracing

    async def show(self, request: Request) -> Response:
        return _json(self._tracing.state())

    async def change(self, request: Request) -> Response:
        return _json(self._tracing.override(parse_policy(await read_object(request, _MAX_BYTES, example=EXAMPLE))))

    async def reset(self, request: Request) -> Response:
        return _json(self._tracing.override(None))


def parse_policy(body: dict[str, object]) -> Tracing:
    """What is to be traced. Raises `BadRequest` that names what is wrong."""
    try:
        return Tracing.model_validate(body)
    except ValidationError as error:
        wrong = "; ".join(map(str, [*unknown_keys(Tracing, body, ""), *issues_of(error, Tracing, "")]))
        raise BadRequest(f"That cannot be set ({wrong}); send a JSON object such as {EXAMPLE}.") from error


def _json(state: TracingState) -> Response:
    return Response(state.model_dump_json(), media_type="application/json")
