"""Ids that follow a request through every answer and every log line: X-Request-ID and W3C traceparent."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable
from typing import NamedTuple

from starlette.types import Scope

from agent_service.contract import REQUEST_ID_HEADER

_REQUEST_ID_NAME = REQUEST_ID_HEADER.lower().encode()
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
# https://www.w3.org/TR/trace-context/#traceparent-header-field-values; a later version may append fields.
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class RequestContext(NamedTuple):
    """The ids of one request. `headers`: the same as ASGI headers, which every answer carries."""

    request_id: str
    traceparent: str
    headers: list[tuple[bytes, bytes]]

    @property
    def trace_id(self) -> str:
        """The 32 hex digits that all spans of the trace share."""
        return self.traceparent[3:35]


def request_context(headers: Collection[tuple[bytes, bytes]]) -> RequestContext:
    """The caller's ids where they are valid, new ones where not. `headers` as in an ASGI scope."""
    names = dict(headers)
    if _REQUEST_ID_NAME not in names and b"traceparent" not in names:
        # One call to the system for both.
        fresh = secrets.token_hex(16 + 24)
        return _context(fresh[:32], _new_traceparent(fresh[32:]))
    ids, traces = values_of(headers, _REQUEST_ID_NAME), values_of(headers, b"traceparent")
    return _context(_request_id(ids[0] if len(ids) == 1 else ""), _traceparent(traces[0] if len(traces) == 1 else ""))


def values_of(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """The values of all headers of that name, which is in lower case, as it is in an ASGI scope."""
    return [value.decode("latin-1") for each, value in headers if each == name]


def bind(context: RequestContext, scope: Scope) -> None:
    """Keep `context` with the request for `context_of`."""
    scope.setdefault("state", {})["request_context"] = context


def context_of(scope: Scope) -> RequestContext:
    """The context that was bound to the request."""
    context: RequestContext = scope["state"]["request_context"]
    return context


def _context(request_id: str, traceparent: str) -> RequestContext:
    headers = [(_REQUEST_ID_NAME, request_id.encode()), (b"traceparent", traceparent.encode())]
    return RequestContext(request_id, traceparent, headers)


def _request_id(value: str) -> str:
    return value if _REQUEST_ID.fullmatch(value) else secrets.token_hex(16)


def _traceparent(value: str) -> str:
    if match := _TRACEPARENT.fullmatch(value):
        version, _, extra = match.groups()
        if len(value) <= 512 and not (version == "00" and extra):
            return value
    return _new_traceparent(secrets.token_hex(24))


def _new_traceparent(digits: str) -> str:
    return f"00-{digits[:32]}-{digits[32:]}-00"
