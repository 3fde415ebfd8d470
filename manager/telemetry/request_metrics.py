"""Counts and times HTTP requests: a pure ASGI middleware, so that streams pass through it untouched."""

from __future__ import annotations

from http import HTTPMethod

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from manager.clock import Clock
from manager.telemetry.manager_metrics import ManagerMetrics

UNMATCHED = "unmatched"
OTHER_METHOD = "other"


class RequestMetrics:
    """Labels are bounded: routes by their templates, methods by those that HTTP knows."""

    def __init__(self, app: ASGIApp, *, metrics: ManagerMetrics, clock: Clock) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock.monotonic()
        observed = False

        def observe(status: int) -> None:
            nonlocal observed
            observed = True
            self._metrics.observe_request(
                method=_method(scope),
                route=_route(scope),
                status=status,
                seconds=self._clock.monotonic() - started,
            )

        async def send_observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                observe(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_observed)
        finally:
            # An application that raised before it answered: the server answers 500 for it.
            if not observed:
                observe(500)


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in HTTPMethod.__members__ else OTHER_METHOD


def _route(scope: Scope) -> str:
    """The template of the route that Starlette matched."""
    path: str = getattr(scope.get("route"), "path_format", UNMATCHED)
    return path
