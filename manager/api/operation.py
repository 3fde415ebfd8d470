"""One operation of the API: its route and its line in the OpenAPI document come from the same declaration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from agent_service.errors import BodyTooLarge
from agent_service.http.body import parse_object, read_body
from manager.errors import BadRequest

Model = TypeVar("Model", bound=BaseModel)
Handler = Callable[[Request], Awaitable[Response | ASGIApp]] | ASGIApp

_MAX_BODY_BYTES = 1024 * 1024


@dataclass(frozen=True)
class QueryParameter:
    """`schema` is its JSON Schema."""

    name: str
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """`answer` is a model, a media type where the answer is no JSON object of ours, or None where it has no body.

    `problems` are its statuses.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    answer: type[BaseModel] | str | None
    body: type[BaseModel] | None = None
    status: int = 200
    problems: Sequence[int] = ()
    query: Sequence[QueryParameter] = ()
    streams_events: bool = False
    guarded: bool = False
    """Demands the token, where tokens are on."""


def routes_of(operations: Iterable[Operation], guard: Sequence[Middleware]) -> list[Route]:
    """Starlette's routes; `guard` stands before the guarded ones."""
    return [
        Route(
            operation.path,
            operation.handler,
            methods=[operation.method],
            middleware=guard if operation.guarded else (),
        )
        for operation in operations
    ]


async def read_model(request: Request, model: type[Model], *, example: str, may_be_empty: bool = False) -> Model:
    """The body as `model`; `may_be_empty` takes no body for an empty object.

    Raises `BadRequest` naming every wrong field, or the body reader's refusals.
    """
    raw = await _read_short(request)
    body = {} if may_be_empty and not raw.strip() else parse_object(raw, example=example)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, issue['loc'])) or 'body'}: {issue['msg']}"
            for issue in error.errors(include_url=False, include_input=False)
        )
        raise BadRequest(f"The body does not fit: {wrong}. Send a JSON object such as {example}.") from error


async def _read_short(request: Request) -> bytes:
    try:
        return await read_body(request, _MAX_BODY_BYTES)
    except BodyTooLarge:
        # This limit is no setting: the advice to raise one would lead nowhere.
        raise BodyTooLarge(f"The body is over the limit of {_MAX_BODY_BYTES} bytes; send a smaller one.") from None


def json_response(model: BaseModel, status: int = 200, **dump: Any) -> Response:
    """`model` as JSON."""
    return Response(model.model_dump_json(**dump), status_code=status, media_type="application/json")


def whole_number(request: Request, name: str, *, default: int | None, lowest: int, highest: int) -> int | None:
    """A query parameter as a whole number within bounds. Raises `BadRequest`."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and lowest <= int(text) <= highest):
        raise BadRequest(f"{name} is {text[:40]!r}; give a whole number from {lowest} to {highest}.")
    return int(text)
