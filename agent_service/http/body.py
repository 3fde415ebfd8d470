"""Request bodies: read up to a limit, parsed as one JSON object."""

from __future__ import annotations

from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json
from starlette.requests import Request

from agent_service.errors import BadRequest, BodyTooLarge


async def read_object(request: Request, max_bytes: int, *, example: str) -> dict[str, Any]:
    """The body as a JSON object; `example` is shown to who sent none. Raises `BodyTooLarge`, `BadRequest`."""
    return parse_object(await read_body(request, max_bytes), example=example)


def parse_object(body: bytes, *, example: str) -> dict[str, Any]:
    """`body` as a JSON object; NaN and the infinities are no JSON. Raises `BadRequest`."""
    if not body.strip():
        raise BadRequest(f"The body is empty; send a JSON object such as {example}.")
    try:
        value = from_json(body, allow_inf_nan=False)
        if b"\\u" in body:
            # Half of a surrogate pair can be written in JSON but is no text, and nothing that comes later can write it.
            to_json(value)
    except (ValueError, PydanticSerializationError) as error:
        raise BadRequest(f"The body is not valid JSON ({error}); send a JSON object such as {example}.") from error
    if not isinstance(value, dict):
        raise BadRequest(f"The body is {json_type(value)}, not an object; send a JSON object such as {example}.")
    return value


def json_type(value: Any) -> str:
    """What a person calls this JSON value."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises `BodyTooLarge`, at the latest when it grows over `max_bytes`."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise too_large(max_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise too_large(max_bytes)
    return bytes(body)


def too_large(max_bytes: int) -> BodyTooLarge:
    """The refusal of a body of more than `max_bytes`."""
    return BodyTooLarge(
        f"The body is over the limit of {max_bytes} bytes (maxBodyBytes); send a smaller one or raise the limit."
    )
