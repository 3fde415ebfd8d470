"""Server-sent events on the wire."""

from __future__ import annotations

from starlette.requests import Request

from agent_service.contract import EVENT_STREAM_MEDIA_TYPE

KEEP_ALIVE_SECONDS = 15.0
KEEP_ALIVE = b": keep-alive\n\n"

HEADERS = [
    (b"content-type", EVENT_STREAM_MEDIA_TYPE.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


def event(name: str, data: bytes) -> bytes:
    """One event; `data` is one line of JSON."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def wants_stream(request: Request) -> bool:
    """The Accept header names server-sent events."""
    accepted = ",".join(request.headers.getlist("accept")).split(",")
    return any(part.split(";")[0].strip().lower() == EVENT_STREAM_MEDIA_TYPE for part in accepted)
