"""What stands before every endpoint, as plain ASGI: request ids, the Host allow-list and the token."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Callable, Collection, Iterable
from contextvars import ContextVar
from typing import Protocol

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import STRUCTLOG_KEY_PREFIX

from agent_service.contract import TOKEN_HEADER
from agent_service.errors import ForeignOrigin, Refusal, TokenRequired, WrongHost
from agent_service.http.request_context import bind, request_context

log = structlog.stdlib.get_logger(__name__)

# What `structlog.contextvars.bind_contextvars` would set, found once.
_BOUND_REQUEST_ID = ContextVar[str](f"{STRUCTLOG_KEY_PREFIX}request_id")
_BOUND_TRACE_ID = ContextVar[str](f"{STRUCTLOG_KEY_PREFIX}trace_id")
_TOKEN_NAME = TOKEN_HEADER.lower().encode()
_MAX_KNOWN_HOSTS = 64
# Of a DNS name and a port.
_MAX_HOST_LENGTH = 253 + 6
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


class ProblemResponses(Protocol):
    """How this side answers with a problem document."""

    def response(self, error: Refusal) -> Response: ...

    def internal(self) -> Response: ...


class RequestIds:
    """Outermost: binds the ids for the log, puts them on every answer, and answers when anything else failed."""

    def __init__(self, app: ASGIApp, problems: ProblemResponses) -> None:
        self._app = app
        self._problems = problems

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = request_context(scope["headers"])
        bind(context, scope)
        started = False

        async def send_with_ids(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), *context.headers]
            await send(message)

        # Never unbound: the server runs each request in a task, and so in a context, of its own.
        _BOUND_REQUEST_ID.set(context.request_id)
        _BOUND_TRACE_ID.set(context.trace_id)
        try:
            await self._app(scope, receive, send_with_ids)
        except Exception:
            log.exception("Request failed", method=scope["method"], path=scope["path"])
            if started:
                raise
            await self._problems.internal()(scope, receive, send_with_ids)


class HostGuard:
    """Refuses requests that a browser was tricked into: a Host that is not ours (DNS rebinding), a foreign Origin.

    `also`: further names by which this server may be called.
    """

    def __init__(self, app: ASGIApp, bound_host: str, problems: ProblemResponses, also: Collection[str] = ()) -> None:
        self._app = app
        self._problems = problems
        names, self._any_address = allowed_names(bound_host)
        self._names = names | {name.lower() for name in also}
        # Values of Host that were found to be ours: they are few, and come again with each request.
        self._known: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope["headers"]) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await self._problems.response(refusal)(scope, receive, send)

    def _refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> Refusal | None:
        hosts, origins = [], []
        for name, value in headers:
            if name == b"host":
                hosts.append(value)
            elif name == b"origin":
                origins.append(value)
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return WrongHost(
                f"The Host header {b', '.join(hosts).decode('latin-1')!r} is not one of this server's; "
                f"use one of {', '.join(sorted(self._names))}."
            )
        if any(origin.partition(b"://")[2].lower() != hosts[0].lower() for origin in origins):
            return ForeignOrigin("The request comes from a page of another site; send it without an Origin header.")
        return None

    def _is_ours(self, host: bytes) -> bool:
        if host in self._known:
            return True
        is_ours = self._allowed(host_name(host.decode("latin-1")))
        if is_ours and len(self._known) < _MAX_KNOWN_HOSTS and len(host) <= _MAX_HOST_LENGTH:
            self._known.add(host)
        return is_ours

    def _allowed(self, name: str) -> bool:
        return name in self._names or (self._any_address and _is_address(name.strip("[]")))


class TokenGuard:
    """Demands one of the valid tokens; with none configured everybody may pass. `also`: another way to be known."""

    def __init__(
        self,
        app: ASGIApp,
        tokens: Collection[str],
        problems: ProblemResponses,
        also: Callable[[Scope], bool] = lambda _: False,
    ) -> None:
        self._app = app
        self._tokens = [token.encode() for token in tokens]
        self._problems = problems
        self._also = also

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._tokens or self._matches(scope["headers"]) or self._also(scope):
            await self._app(scope, receive, send)
            return
        refusal = TokenRequired(f"Send the manager's token in the {TOKEN_HEADER} header; it was missing or wrong.")
        await self._problems.response(refusal)(scope, receive, send)

    def _matches(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        given = ([value for name, value in headers if name == _TOKEN_NAME] or [b""])[0]
        # All are compared, so that the time taken does not tell which of them was close.
        return any([hmac.compare_digest(given, token) for token in self._tokens])


def allowed_names(bound_host: str) -> tuple[frozenset[str], bool]:
    """The Host names that are ours, and whether any literal address is (when bound to all of them)."""
    bound = f"[{bound_host}]" if ":" in bound_host else bound_host
    if not is_wildcard(bound_host):
        return LOOPBACK_NAMES | {bound.lower()}, False
    return LOOPBACK_NAMES | {socket.gethostname().lower()}, True


def is_wildcard(host: str) -> bool:
    """Bound to every address of the machine."""
    return _is_address(host) and ipaddress.ip_address(host).is_unspecified


def host_name(authority: str) -> str:
    """`authority` without its port, in lower case: `[::1]:80` → `[::1]`."""
    name, colon, port = authority.rpartition(":")
    if not colon or not (port.isdigit() or port == "") or (":" in name and not name.endswith("]")):
        name = authority
    return name.lower()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
