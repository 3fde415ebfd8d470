"""Counts, times and logs HTTP requests: a pure ASGI middleware, so that streams pass through it untouched."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from http import HTTPMethod
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_service.contract import EVENT_STREAM_MEDIA_TYPE
from manager.clock import Clock
from manager.telemetry.bookkeeping import Later, at_once
from manager.telemetry.manager_metrics import ManagerMetrics

UNMATCHED = "unmatched"
OTHER_METHOD = "other"
_EVENT_STREAM = EVENT_STREAM_MEDIA_TYPE.encode()
# Answered well they are signs of life, every few seconds from every agent, and would push all else out of the log.
_NOT_LOGGED = frozenset({"/api/agent-services/heartbeat"})

Entry = dict[str, Any]


def describe_request(scope: Scope, **fields: Any) -> None:
    """Add `fields` (JSON values) to the request's line in the access log."""
    scope.setdefault("state", {}).setdefault("access_fields", {}).update(fields)


class RequestMetrics:
    """Labels are bounded: routes by their templates, methods by those that HTTP knows.

    `log` takes the request's line for the access log, when all is over.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: ManagerMetrics,
        clock: Clock,
        log: Callable[[Entry], None],
        later: Later = at_once,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._later = later

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock.monotonic()
        status = 0
        sent = 0
        streams = False

        async def send_observed(message: Message) -> None:
            nonlocal status, sent, streams
            if message["type"] == "http.response.start":
                status = message["status"]
                self._later(self._observe, scope, status, self._clock.monotonic() - started)
                if streams := _is_event_stream(message):
                    self._metrics.stream_opened(_route(scope))
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_observed)
        finally:
            if streams:
                self._metrics.stream_closed(_route(scope))
            if not status:
                # An application that raised before it answered: the server answers 500 for it. One that merely
                # returned has lost its client.
                self._later(self._observe, scope, 500, self._clock.monotonic() - started)
            self._later(self._record, scope, status, sent, self._clock.monotonic() - started, self._clock.now())

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        self._metrics.observe_request(method=_method(scope), route=_route(scope), status=status, seconds=seconds)

    def _record(self, scope: Scope, status: int, sent: int, seconds: float, ended_at: datetime) -> None:
        path = scope["path"]
        if path in _NOT_LOGGED and status < 400:
            return
        state = scope.get("state", {})
        context = state.get("request_context")
        client = scope.get("client")
        self._log(
            {
                # As agent_service.contract.rfc3339 would, which converts from other time zones first.
                "timestamp": ended_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "client": client[0] if client else None,
                "method": scope["method"],
                "path": path,
                "status": status or None,
                "bytes": sent,
                "duration_ms": round(seconds * 1000, 2),
                "request_id": context and context.request_id,
                "trace_id": context and context.trace_id,
                **state.get("access_fields", {}),
            }
        )


def _is_event_stream(start: Message) -> bool:
    headers: dict[bytes, bytes] = dict(start["headers"])
    return headers.get(b"content-type", b"").startswith(_EVENT_STREAM)


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in HTTPMethod.__members__ else OTHER_METHOD


def _route(scope: Scope) -> str:
    """The template of the route that Starlette matched."""
    path: str = getattr(scope.get("route"), "path_format", UNMATCHED)
    return path
