"""One connection to a server: HTTP/1.1 by httptools' parser on an asyncio transport, for one exchange at a time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import httptools

from agent_service.http.client.answer import Answer, BrokenExchange, RawHeaders
from agent_service.http.client.tcp import acknowledged_bytes, quiet_check, second_handle
from agent_service.http.field_values import are_clean
from agent_service.http.prompt_writing import PromptWriter

# Bytes of a head or of trailers; nginx refuses heads that are far smaller.
MAX_HEAD_BYTES = 64 * 1024
# Bytes without any of a body among them: heads, interim answers, what stands between chunks.
MAX_FRAMING_BYTES = 4 * MAX_HEAD_BYTES
# Interim answers before one answer: one in 20 seconds, the pace of RFC 2518 section 10.1, for more than five hours.
MAX_INTERIM_ANSWERS = 1000

_SWITCHING_PROTOCOLS = 101
_HIGHEST_STATUS = 599
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class Connection(asyncio.Protocol):
    """`begin` an exchange, send what is left of its body, read the answer, `finish`; then perhaps another one."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._writer: PromptWriter | None = None
        self._handle: socket.socket | None = None
        self._is_quiet: Callable[[], bool] | None = None
        self._is_encrypted = False
        self._answer: Answer | None = None
        self._complaint: str | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._written = 0
        self._written_before = 0
        self._is_sent = True
        self._headers: RawHeaders = []
        self._head_bytes = 0
        self._framing = 0
        self._has_head = False
        self._keeps_alive = False
        self._ends_with_connection = False

    # What the exchange does.

    def begin(self, head: bytes, body: bytes | None) -> Answer:
        """Send the head and, where it is there as a whole, the body. Without one, `send` and `end_body` follow."""
        assert self._transport is not None
        self._answer = Answer(self._transport)
        self._headers, self._head_bytes, self._framing = [], 0, 0
        self._has_head = self._keeps_alive = self._ends_with_connection = False
        self._complaint = None
        self._written_before = self._written
        self._is_sent = body is not None
        self._write(head + body if body else head)
        return self._answer

    async def send(self, data: bytes) -> None:
        """Send a piece of the body, framed already; waits while the adapter is slow to read."""
        self._write(data)
        await self._writable.wait()

    def end_body(self) -> None:
        """The body has been sent as a whole."""
        self._is_sent = True

    def finish(self) -> bool:
        """End the exchange; whether the connection can take another one. It is closed where it cannot."""
        answer, self._answer = self._answer, None
        if answer is not None and answer.is_complete and self._keeps_alive and self._is_sent and not self.is_closed:
            return True
        self.abort()
        return False

    def is_usable(self) -> bool:
        """Whether an idle connection still stands, as far as the kernel knows."""
        return not self.is_closed and self._is_quiet is not None and self._is_quiet()

    @property
    def is_closed(self) -> bool:
        """Nothing can be sent any more."""
        return self._transport is None or self._transport.is_closing()

    @property
    def takes_more(self) -> bool:
        """Whether there is a point in sending on: not after an answer that announces the end of the connection."""
        return not self.is_closed and not (self._has_head and not self._keeps_alive)

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        # The transport would only log that it is closed; the answer tells its reader.
        if self._writer is not None and not self.is_closed:
            self._written += len(data)
            self._writer.write(data)

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Of uvloop's own class, not of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._writer = PromptWriter(self._transport)
        self._handle = second_handle(transport)
        self._is_quiet = None if self._handle is None else quiet_check(self._handle)
        self._is_encrypted = transport.get_extra_info("ssl_object") is not None

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            # Nobody asked: what comes now must not pass for the answer to the next request.
            self.abort()
            return
        self._framing += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"its answer is no HTTP/1.1: {self._complaint or error}")
            return
        if self._framing > MAX_FRAMING_BYTES and not self._answer.is_complete:
            self._fail("its answer is no HTTP/1.1: a head without end")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None:
            if exc is None and self._has_head and self._ends_with_connection:
                self._answer.complete()
            self._answer.fail(BrokenExchange(self._how_it_broke(exc), untouched=exc is None and self._is_untouched()))
        self._writable.set()
        if self._handle is not None:
            self._handle.close()
            self._handle = self._is_quiet = None

    def _how_it_broke(self, error: Exception | None) -> str:
        where = "in the middle of its answer" if self._has_head else "before it answered"
        return f"it closed the connection {where}" + (f": {error}" if error is not None else "")

    def _is_untouched(self) -> bool:
        """Asked at an orderly end: whether the peer had closed its side before one byte of this exchange was there.

        The packet that ends a connection acknowledges what has come until then, and a server that has closed its side
        processes nothing more (RFC 9112 section 9.6). A reset acknowledges nothing, so it proves nothing. With TLS the
        bytes are others than were counted.
        """
        if self._handle is None or self._is_encrypted or self._has_head:
            return False
        return acknowledged_bytes(self._handle) == self._written_before

    # What the parser tells.

    def on_message_begin(self) -> None:
        if self._has_head:
            raise self._complain("data after the end of the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEAD_BYTES:
            raise self._complain(f"a head of more than {MAX_HEAD_BYTES} bytes")
        if not self._has_head:
            self._headers.append((name.lower(), value))
        elif not are_clean([value]):
            raise self._complain("a control character in a trailer")
        elif self._answer is not None:
            self._answer.take_trailer(name.lower(), value)

    def on_headers_complete(self) -> None:
        assert self._answer is not None
        status = self._parser.get_status_code()
        if not 100 <= status <= _HIGHEST_STATUS:
            raise self._complain(f"the status {status}")
        if self._parser.get_http_version() not in ("1.0", "1.1"):
            raise self._complain(f"HTTP/{self._parser.get_http_version()}")
        if not are_clean([value for _, value in self._headers]):
            raise self._complain("a control character in a header")
        if status < 200:
            self._interim(status)
            return
        self._has_head = True
        self._keeps_alive = self._parser.should_keep_alive()
        self._ends_with_connection = not self._is_framed(status)
        self._answer.take_head(status, self._headers)

    def on_body(self, body: bytes) -> None:
        assert self._answer is not None
        self._framing = 0
        self._answer.take_chunk(body)

    def on_message_complete(self) -> None:
        if not self._has_head:
            self._headers = []
            return
        assert self._answer is not None
        self._answer.complete()

    def _interim(self, status: int) -> None:
        assert self._answer is not None
        if status == _SWITCHING_PROTOCOLS:
            raise self._complain("a switch of protocols that nobody asked for")
        if self._answer.interim_count == MAX_INTERIM_ANSWERS:
            raise self._complain(f"more than {MAX_INTERIM_ANSWERS} interim answers")
        if any(name in _FRAMING for name, _ in self._headers):
            # Forbidden (RFC 9110 section 8.6, RFC 9112 section 6.1), and the parser would read a body.
            raise self._complain(f"a body of the interim answer {status}")
        self._answer.take_interim(status, self._headers)

    def _is_framed(self, status: int) -> bool:
        """Whether the body says itself where it ends. Raises for codings that would have to be undone on the way."""
        names = dict(self._headers)
        if b"transfer-encoding" not in names:
            return b"content-length" in names or status in (204, 304)
        codings = [value.strip().lower() for name, value in self._headers if name == b"transfer-encoding"]
        if codings != [b"chunked"]:
            raise self._complain(f"the transfer coding {codings[0]!r}")
        return True

    def _complain(self, what: str) -> ValueError:
        self._complaint = what
        return ValueError(what)

    def _fail(self, detail: str) -> None:
        if self._answer is not None:
            self._answer.fail(BrokenExchange(detail))
        self.abort()
