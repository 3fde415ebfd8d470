"""The way past Starlette for its one hot route: the same route, found before and answered without its wrapping."""

from __future__ import annotations

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send


class Shortcut:
    """Middleware: requests for `route`, whose endpoint answers its own errors, go to it; all others go on.

    Starlette's error handlers wrap every message of an answer, and its router tries one pattern after the other:
    docs/benchmarks.md says what that costs.
    """

    def __init__(self, app: ASGIApp, route: Route) -> None:
        self._app = app
        self._route = route
        self._methods = frozenset(route.methods or ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in self._methods:
            found = self._route.path_regex.match(scope["path"])
            if found is not None:
                scope["route"] = self._route
                scope["path_params"] = found.groupdict()
                await self._route.app(scope, receive, send)
                return
        await self._app(scope, receive, send)
