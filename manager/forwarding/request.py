"""What goes to the adapter: the request's head, and its body as a whole or piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from agent_service.http.client.answer import RawHeaders, TellInterim
from manager.forwarding.headers import declared_length, towards_adapter
from manager.forwarding.timing import Timing

END_OF_CHUNKS = b"0\r\n\r\n"


@dataclass(slots=True)
class ForwardRequest:
    """`trace_headers` replace the client's own. `timing` is filled in on the way.

    The body is whole, and then it can be sent again where that is safe, or it comes once, as it is read. With
    `asks_first` its first piece is asked for only when the adapter wants it (RFC 9110, `Expect: 100-continue`).
    """

    agent_id: str
    headers: RawHeaders
    trace_headers: RawHeaders
    body: bytes | AsyncGenerator[bytes, None]
    asks_first: bool = False
    client: str = ""
    """Who is asking; slots are shared out fairly among clients."""
    timing: Timing = field(default_factory=Timing)
    is_chunked: bool = field(init=False)
    """Framed as it came: in chunks, or by its length."""
    call: str = ""
    """The name by which the adapter is to remember it."""
    asked: str | None = None
    """The instance that was given the call before: it is asked for the answer, and nothing is run."""
    chosen: Callable[[str], Awaitable[None]] | None = None
    """Told the instance that was chosen, before anything is sent to it; what it raises ends the request."""
    takes_trailers: bool = False
    """Whether the client wants the fields that follow the answer's body."""
    tell_interim: TellInterim | None = None
    """Told the interim answers as they come; the answer's head waits for it."""

    @property
    def is_repeatable(self) -> bool:
        """Whether it can be sent again, should it be certain that the adapter has got nothing of it."""
        return isinstance(self.body, bytes)

    def __post_init__(self) -> None:
        self.is_chunked = b"transfer-encoding" in dict(self.headers)

    def head(self, host: bytes, token_headers: RawHeaders) -> bytes:
        """The head on the wire."""
        framing = b"transfer-encoding: chunked" if self.is_chunked else b"content-length: %d" % self._length()
        lines = [self._start_line(), b"host: " + host, framing]
        lines += [b"%b: %b" % header for header in towards_adapter(self.headers)]
        lines += [b"%b: %b" % header for header in self.trace_headers]
        lines += [b"%b: %b" % header for header in token_headers]
        if self.asks_first:
            lines.append(b"expect: 100-continue")
        if self.takes_trailers:
            lines.append(b"te: trailers\r\nconnection: te")
        lines.append(b"\r\n")
        return b"\r\n".join(lines)

    def _start_line(self) -> bytes:
        return b"POST /execute HTTP/1.1" if self.asked is None else b"GET /answers/%b HTTP/1.1" % self.call.encode()

    def _length(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else declared_length(self.headers) or 0


def chunk(data: bytes) -> bytes:
    """`data` as a chunk of the chunked coding (RFC 9112 section 7.1); of nothing nothing, which would be its end."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
