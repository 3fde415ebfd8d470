"""The server's side of a connection: uvicorn's HTTP/1.1 protocol, with limits for slow clients.

Uvicorn leaves a half-sent request open for ever, takes the fields of a trailer for headers, and answers what is no HTTP
in plain text.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from functools import lru_cache
from typing import Any, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agent_service.http.coalescing import Joining
from agent_service.http.cycle import Cycle, closing_problem
from agent_service.http.extensions import EXTENSIONS
from agent_service.http.read_limits import Awaited, ReadLimits

# Bytes of a head and what comes before its body, or of trailers, rounded up to what comes with the last ones.
MAX_HEAD_BYTES = 64 * 1024
# The count of bytes begins with the next data: what came with a piece of a body is not told apart.
_NONE_YET = -1
# Longer ones are not remembered.
_USUAL_URL_BYTES = 256


class ServerProtocol(HttpToolsProtocol):
    """One connection. `expire` has to be called now and then."""

    cycle: Cycle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Of uvloop's own class, not of asyncio's.
        super().connection_made(cast(asyncio.Transport, Joining(cast(asyncio.Transport, transport), self.loop)))
        self._limits = ReadLimits(self.loop.time())
        self._framing = 0

    def expire(self, now: float) -> None:
        """Part with a client that has taken too long. `now` in the loop's time."""
        limits = self._limits
        if not limits.is_over(now) or self.transport.is_closing():
            return
        if self.flow.read_paused or self._is_answering_another() or self._is_to_say_continue():
            limits.server_is_busy(now)
        elif limits.awaited is Awaited.REQUEST:
            self.transport.close()
        else:
            late = limits.awaited.value
            self._refuse(408, f"The {late} of the request did not come in time; send it again, without such a pause.")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._limits.awaited is not Awaited.NOTHING:
            self._count_framing(len(data))

    def _count_framing(self, size: int) -> None:
        self._framing = 0 if self._framing == _NONE_YET else self._framing + size
        if self._framing > MAX_HEAD_BYTES and not self.transport.is_closing():
            what = "trailer section" if self._limits.awaited is Awaited.BODY else "head"
            self._refuse(431, f"The {what} of the request is over {MAX_HEAD_BYTES} bytes; send a smaller one.")

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "What was sent is no HTTP/1.1; send a request of that kind.")

    # What the parser tells.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._framing = 0
        self._limits.head_begins(self.loop.time())

    def on_header(self, name: bytes, value: bytes) -> None:
        # After the head come trailers: no guard has looked at those.
        if self._limits.awaited is Awaited.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._limits.body_begins(self.loop.time())
        self._complete_scope()
        before, self.cycle = cast("Cycle | None", self.cycle), self._new_cycle()
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            # Pipelined: it waits for its turn.
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        self._framing = _NONE_YET
        self._limits.body_comes(self.loop.time(), len(body))
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._limits.request_ends()
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()
        elif not self.pipeline:
            self._limits.answered(self.loop.time())

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._limits.answered(self.loop.time())

    def _complete_scope(self) -> None:
        scope = cast(dict[str, Any], self.scope)
        parsed = _parsed_again if len(self.url) <= _USUAL_URL_BYTES else _parsed
        scope["path"], scope["raw_path"], scope["query_string"] = parsed(self.url)
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version = self.parser.get_http_version()
        if version == "1.1":
            scope["extensions"] = EXTENSIONS

    def _new_cycle(self) -> Cycle:
        return Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=self.scope["http_version"] != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )

    def _is_answering_another(self) -> bool:
        """Whether what is late is pipelined: the answer before it is not its client's fault."""
        is_answering = cast("Cycle | None", self.cycle) is not None and not self.cycle.response_complete
        return is_answering and (self._limits.awaited is Awaited.HEAD or bool(self.pipeline))

    def _is_to_say_continue(self) -> bool:
        return self._limits.awaited is Awaited.BODY and self.cycle.waiting_for_100_continue

    def _refuse(self, status: int, detail: str) -> None:
        """Answer, where nothing has been answered yet, and hang up; the application learns that its client is gone."""
        cycle = cast("Cycle | None", self.cycle)
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(closing_problem(status, detail))
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()


def _parsed(url: bytes) -> tuple[str, bytes, bytes]:
    parts = httptools.parse_url(url)
    path = parts.path.decode("ascii")
    return urllib.parse.unquote(path) if "%" in path else path, parts.path, parts.query or b""


_parsed_again = lru_cache(maxsize=256)(_parsed)
