"""Ids that follow a request through every answer and every log line: X-Request-ID and W3C traceparent."""

from __future__ import annotations

import re
import secrets
import uuid
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from agent_service.contract import REQUEST_ID_HEADER

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
# https://www.w3.org/TR/trace-context/#traceparent-header-field-values; a later version may append fields.
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


@dataclass(frozen=True)
class RequestContext:
    """The ids of one request."""

    request_id: str
    traceparent: str

    @property
    def trace_id(self) -> str:
        """The 32 hex digits that all spans of the trace share."""
        return self.traceparent.split("-")[1]

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The ASGI headers that every answer carries."""
        return [
            (REQUEST_ID_HEADER.lower().encode(), self.request_id.encode()),
            (b"traceparent", self.traceparent.encode()),
        ]


def request_context(headers: Headers) -> RequestContext:
    """The caller's ids where they are valid, new ones where not."""
    return RequestContext(_request_id(headers.getlist(REQUEST_ID_HEADER)), _traceparent(headers.getlist("traceparent")))


def bind(context: RequestContext, scope: Scope) -> None:
    """Keep `context` with the request for `context_of`."""
    scope.setdefault("state", {})["request_context"] = context


def context_of(scope: Scope) -> RequestContext:
    """The context that was bound to the request."""
    context: RequestContext = scope["state"]["request_context"]
    return context


def _request_id(values: list[str]) -> str:
    if len(values) == 1 and _REQUEST_ID.fullmatch(values[0]):
        return values[0]
    return uuid.uuid4().hex


def _traceparent(values: list[str]) -> str:
    if len(values) == 1 and (match := _TRACEPARENT.fullmatch(values[0])):
        version, _, extra = match.groups()
        if len(values[0]) <= 512 and not (version == "00" and extra):
            return values[0]
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
