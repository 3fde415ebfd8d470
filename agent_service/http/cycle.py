"""One request and its answer on a connection: uvicorn's, its head written with less work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import HEADER_RE, STATUS_LINE, RequestResponseCycle

from agent_service.contract import PROBLEM_MEDIA_TYPE, Problem
from agent_service.http.extensions import INTERIM, TRAILERS
from agent_service.http.field_values import are_clean

# Names that need no look: those of nearly every answer.
_PLAIN_NAMES = frozenset(
    {b"content-type", b"content-length", b"date", b"server-timing", b"traceparent", b"x-request-id", b"cache-control"}
)
_BODILESS = frozenset({204, 304})


class Cycle(RequestResponseCycle):
    """Its `send` knows what uvicorn's knows, in the order in which it is needed, and interim answers and trailers."""

    _translate: Callable[[Message], Message] | None = None
    """What uvicorn is to make of what follows the head, where it would not get that right by itself."""
    _trailers = b""

    async def send(self, message: Message) -> None:  # type: ignore[override]
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_started:
            if self._translate is not None:
                message = self._translate(message)
            await super().send(message)  # type: ignore[arg-type]
        elif message["type"] == "http.response.start":
            self._start(message["status"], message.get("headers", ()))
            if message.get("trailers"):
                self._translate = self._before_trailers
        elif message["type"] == INTERIM:
            self._send_interim(message["status"], message.get("headers", ()))
        else:
            await super().send(message)  # type: ignore[arg-type]

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        lines = [STATUS_LINE[status]]
        lines += [b"%b: %b\r\n" % header for header in self.default_headers]
        fields = list(headers)
        lines += _lines(fields)
        says_close = False
        for name, value in fields:
            if name == b"content-length":
                self.expected_content_length, self.chunked_encoding = int(value), False
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive, says_close = False, True
        if not self.keep_alive and not says_close:
            lines.append(b"connection: close\r\n")
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in _BODILESS:
            if self.scope["http_version"] == "1.0":
                # It knows no chunks (RFC 9112 section 6.1): the body ends with the connection.
                self._translate = self._of_any_length
            else:
                self.chunked_encoding = True
                lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self.transport.write(b"".join(lines))

    def _send_interim(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if not 100 <= status < 200 or status == HTTPStatus.SWITCHING_PROTOCOLS:
            raise RuntimeError(f"{status} is no interim answer.")
        if status == HTTPStatus.CONTINUE:
            self.waiting_for_100_continue = False
        self.transport.write(b"".join([STATUS_LINE[status], *_lines(list(headers)), b"\r\n"]))

    def _of_any_length(self, message: Message) -> Message:
        self.expected_content_length = len(message.get("body", b""))
        return message

    def _before_trailers(self, message: Message) -> Message:
        """For uvicorn, which does not know trailers, the body ends with them."""
        if message["type"] != TRAILERS:
            return {**message, "more_body": True}
        self._trailers += b"".join(_lines(list(message.get("headers", ()))))
        is_last = not message.get("more_trailers", False)
        if is_last and self.chunked_encoding:
            self.transport.write(b"0\r\n%b\r\n" % self._trailers)
            # The end is written: uvicorn is not to write another.
            self.chunked_encoding = False
        return {"type": "http.response.body", "body": b"", "more_body": not is_last}


def _lines(fields: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Fields on the wire, none of which can pass for two."""
    odd_names = [name for name, _ in fields if name not in _PLAIN_NAMES]
    if any(map(HEADER_RE.search, odd_names)) or not are_clean([value for _, value in fields]):
        raise RuntimeError("Invalid HTTP header.")
    return [b"%b: %b\r\n" % field for field in fields]


def closing_problem(status: int, detail: str) -> bytes:
    """A whole answer on the wire, after which the connection is closed."""
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    body = problem.model_dump_json(exclude_none=True).encode()
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (
        STATUS_LINE[status],
        PROBLEM_MEDIA_TYPE.encode(),
        len(body),
        body,
    )
