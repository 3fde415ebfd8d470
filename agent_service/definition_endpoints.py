"""The addresses of an agent that is data: a new definition for it, and the conversations that it remembers."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from agent_service.contract import ReloadRequest
from agent_service.definition import AgentDefinition
from agent_service.errors import BadRequest, StateConflict
from agent_service.http.body import read_object
from agent_service.issues import issues_of, unknown_keys
from agent_service.runtimes.protocol import DefinedRuntime, Runtime

DEFAULT_THREADS = 50
MAX_THREADS = 1000
RELOAD_EXAMPLE = '{"definition": {"behavior": {"model_parameters": {"provider": "ollama", "model": "qwen3"}}}}'


class DefinitionEndpoints:
    """One method per address. For an agent of another kind each raises `StateConflict`."""

    def __init__(self, runtime: Runtime, *, max_bytes: int) -> None:
        self._runtime = runtime
        self._max_bytes = max_bytes

    async def reload(self, request: Request) -> Response:
        body = await read_object(request, self._max_bytes, example=RELOAD_EXAMPLE)
        return _json(await self._defined().reload(parse_reload(body).definition))

    async def threads(self, request: Request) -> Response:
        limit = parse_limit(request.query_params.get("limit", str(DEFAULT_THREADS)))
        return _json(await (await self._defined().threads()).page(limit, request.query_params.get("before")))

    async def thread(self, request: Request) -> Response:
        return _json(await (await self._defined().threads()).read(request.path_params["thread_id"]))

    async def forget_thread(self, request: Request) -> Response:
        await (await self._defined().threads()).delete(request.path_params["thread_id"])
        return Response(status_code=204)

    def _defined(self) -> DefinedRuntime:
        if not isinstance(self._runtime, DefinedRuntime):
            raise StateConflict(
                "The agent is not described by data, so there is no definition to reload and no thread; "
                'only agents with the entry point "react" have them.'
            )
        return self._runtime


def parse_reload(body: dict[str, object]) -> ReloadRequest:
    """The definition. Raises `BadRequest` with all that is wrong: where, what was found, what is allowed."""
    if "definition" not in body:
        raise BadRequest(f'The body has no "definition"; send the whole definition, such as {RELOAD_EXAMPLE}.')
    try:
        return ReloadRequest.model_validate(body)
    except ValidationError as error:
        issues = [
            *unknown_keys(AgentDefinition, body["definition"], "definition"),
            *issues_of(error, ReloadRequest, ""),
        ]
        wrong = "; ".join(map(str, issues))
        raise BadRequest(f"The definition is wrong, and nothing has changed: {wrong}.") from error


def parse_limit(text: str) -> int:
    """The number of threads asked for. Raises `BadRequest`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_THREADS):
        raise BadRequest(f'"limit" must be a whole number from 1 to {MAX_THREADS}, not {text[:40]!r}.')
    return int(text)


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")
