"""Under the HTTP transports of MCP: what goes wrong with one request is told to that request, and ends no session.

The SDK's transports end the whole session at a refused connection or a status like 503, and leave a request waiting
whose stream broke off. Here each failed POST is answered as one without content, and its request is told why.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
from pydantic_core import from_json

from agent_service.runtimes.tools.errors import CallFailed, ServerLost
from agent_service.runtimes.tools.link import Link
from agent_service.runtimes.tools.transport import MAX_MESSAGE_BYTES, request_id

_JSON = "application/json"
_EVENTS = "text/event-stream"
_SESSION_HEADER = "mcp-session-id"
_DELETE_SECONDS = 1.0
# Nothing of the request has gone out.
_NOT_BEGUN = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
# Refused before any work was done; with others nobody knows.
_REFUSED = frozenset({400, 401, 403, 404, 405, 408, 413, 415, 421, 425, 429, 503})
_HINTS = {
    401: "check its headers",
    403: "check its headers",
    404: "check its url",
    405: "check its url and transport",
}


class AnsweringTransport(httpx.AsyncBaseTransport):
    """Wraps `inner`. `is_stream`: answers come over the stream of a GET (SSE), not with the POST itself."""

    def __init__(self, inner: httpx.AsyncBaseTransport, link: Link, *, is_stream: bool) -> None:
        self._inner = inner
        self._link = link
        self._is_stream = is_stream

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """To a POST always an answer that the SDK can go on with. Raises `httpx.TransportError` for a GET."""
        if request.method == "POST":
            return await self._post(request)
        if request.method == "DELETE":
            return await self._delete(request)
        # Silence between two events may last.
        request.extensions = _with_timeouts(request, read=None)
        response = await self._inner.handle_async_request(request)
        if response.is_success:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            response.stream = _Listening(response.stream, self._link, is_stream=self._is_stream)
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()

    async def _delete(self, request: httpx.Request) -> httpx.Response:
        """Ends the session; a server that has gone or hangs keeps nobody waiting."""
        if self._link.lost is None:
            request.extensions = _with_timeouts(request, connect=_DELETE_SECONDS, read=_DELETE_SECONDS)
            with contextlib.suppress(httpx.TransportError):
                return await self._inner.handle_async_request(request)
        return httpx.Response(204)

    async def _post(self, request: httpx.Request) -> httpx.Response:
        message = from_json(request.content)
        number = _number(message)
        request.headers.update(_trace_headers(message))
        self._link.began(number)
        try:
            response = await self._inner.handle_async_request(request)
            if response.is_success and not self._is_stream and number is not None:
                return await self._answer(response, number)
        except httpx.TransportError as error:
            self._failed(number, describe(error), begun=not isinstance(error, _NOT_BEGUN))
            return httpx.Response(202)
        if response.is_success or response.has_redirect_location:
            return response
        await response.aclose()
        self._refused(request, number, response.status_code)
        return httpx.Response(202)

    async def _answer(self, response: httpx.Response, number: int) -> httpx.Response:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == _EVENTS:
            response.stream = _Answering(response.stream, self._link, number)
            return response
        whole = httpx.Response(response.status_code)
        if kind == _JSON:
            body = await _read(response.stream, self._link, number)
            whole = httpx.Response(response.status_code, headers=response.headers, content=body)
        await response.aclose()
        if not _is_object(whole.content):
            self._link.fail(number, CallFailed(f"it answered with {kind or 'nothing'} that is no MCP; check its url"))
            return httpx.Response(202)
        return whole

    def _refused(self, request: httpx.Request, number: int | None, status: int) -> None:
        if status == httpx.codes.NOT_FOUND and _SESSION_HEADER in request.headers:
            # The server was restarted: nothing that was asked of its predecessor will be answered.
            self._link.fail(number, ServerLost("it has forgotten the session"))
            self._link.lose("it has forgotten the session")
            return
        self._failed(number, refusal(status), begun=status not in _REFUSED)

    def _failed(self, number: int | None, reason: str, *, begun: bool) -> None:
        self._link.fail(number, ServerLost(reason, begun=begun))
        if self._is_stream:
            self._link.lose(reason)
        else:
            self._link.suspect()


def _with_timeouts(request: httpx.Request, **seconds: float | None) -> dict[str, Any]:
    return {**request.extensions, "timeout": {**request.extensions.get("timeout", {}), **seconds}}


def describe(error: httpx.TransportError) -> str:
    """A few words without the address, which may hold secrets."""
    if isinstance(error, httpx.LocalProtocolError):
        return "the request cannot be sent; check its headers"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return f"it cannot be reached ({str(error) or type(error).__name__})"
    return f"the connection broke ({str(error) or type(error).__name__})"


def refusal(status: int) -> str:
    """A few words on an HTTP status that is no success."""
    hint = f"; {_HINTS[status]}" if status in _HINTS else ""
    return f"it answered {status} {httpx.codes.get_reason_phrase(status)}{hint}"


class _Answering(httpx.AsyncByteStream):
    """The events that answer one POST. One that ends without the answer fails the request."""

    def __init__(self, stream: httpx.AsyncByteStream, link: Link, number: int) -> None:
        self._stream = stream
        self._link = link
        self._number = number

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length, has_ids = 0, False
        try:
            async for chunk in self._stream:
                length += len(chunk)
                if length > MAX_MESSAGE_BYTES:
                    self._link.fail(self._number, _too_long())
                    return
                # With ids the SDK asks for what it missed.
                has_ids = has_ids or chunk.startswith(b"id:") or b"\nid:" in chunk
                yield chunk
        except httpx.TransportError as error:
            if not has_ids:
                self._link.fail(self._number, ServerLost(describe(error), begun=True))
            self._link.suspect()
            return
        if not has_ids:
            self._link.fail(self._number, ServerLost("it ended the answer before its end", begun=True))

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Listening(httpx.AsyncByteStream):
    """The events of a GET, whose end may be the end of the server."""

    def __init__(self, stream: httpx.AsyncByteStream, link: Link, *, is_stream: bool) -> None:
        self._stream = stream
        self._link = link
        self._is_stream = is_stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        reason = "it closed its stream of events"
        try:
            async for chunk in self._stream:
                yield chunk
        except httpx.TransportError as error:
            reason = describe(error)
        if self._is_stream:
            self._link.lose(reason)
        else:
            self._link.suspect()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _read(stream: httpx.AsyncByteStream, link: Link, number: int) -> bytes:
    """The whole body; a request whose body is too long is failed."""
    body = bytearray()
    async for chunk in stream:
        body += chunk
        if len(body) > MAX_MESSAGE_BYTES:
            link.fail(number, _too_long())
            return b""
    return bytes(body)


def _too_long() -> CallFailed:
    return CallFailed(f"its answer is over the limit of {MAX_MESSAGE_BYTES} bytes")


def _number(message: dict[str, Any]) -> int | None:
    return request_id(message.get("id")) if "method" in message else None


def _trace_headers(message: dict[str, Any]) -> dict[str, str]:
    """Of the message: it is sent by the session's own task, which belongs to no trace."""
    meta = (message.get("params") or {}).get("_meta") or {}
    return {name: meta[name] for name in ("traceparent", "tracestate") if isinstance(meta.get(name), str)}


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(from_json(body), dict)
    except ValueError:
        return False
