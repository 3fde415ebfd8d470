"""Asks clients to come back on a new connection, which a successor then takes."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Parting:
    """Middleware: while `is_parting` says so, each answer ends its connection (`Connection: close`)."""

    def __init__(self, app: ASGIApp, is_parting: Callable[[Scope], bool]) -> None:
        self._app = app
        self._is_parting = is_parting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_parting(message: Message) -> None:
            # Asked when the answer begins: a long task may have begun in better times.
            if message["type"] == "http.response.start" and self._is_parting(scope):
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, send_parting if scope["type"] == "http" else send)


def arrived_at(scope: Scope, port: int | None) -> bool:
    """Whether a request came in at that port of ours."""
    server = scope.get("server")
    return port is not None and server is not None and server[1] == port
