"""What goes to the adapter: the request's head, and its body as a whole or piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from agent_service.http.client.answer import RawHeaders
from manager.forwarding.headers import declared_length, towards_adapter
from manager.forwarding.timing import Timing

END_OF_CHUNKS = b"0\r\n\r\n"


@dataclass(frozen=True)
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
    chosen: Callable[[str], Awaitable[None]] | None = None
    """Told the instance that was chosen, before anything is sent to it; what it raises ends the request."""

    @property
    def is_repeatable(self) -> bool:
        """Whether it can be sent again, should it be certain that the adapter has got nothing of it."""
        return isinstance(self.body, bytes)

    @property
    def is_chunked(self) -> bool:
        """Framed as it came: in chunks, or by its length."""
        return any(name == b"transfer-encoding" for name, _ in self.headers)

    def head(self, host: bytes, token_headers: RawHeaders) -> bytes:
        """The head on the wire."""
        if self.is_chunked:
            framing = (b"transfer-encoding", b"chunked")
        else:
            framing = (b"content-length", b"%d" % self._length())
        lines = [b"POST /execute HTTP/1.1\r\nhost: " + host]
        headers = [*towards_adapter(self.headers), *self.trace_headers, *token_headers, framing]
        lines += [b"%b: %b" % header for header in headers]
        if self.asks_first:
            lines.append(b"expect: 100-continue")
        lines.append(b"\r\n")
        return b"\r\n".join(lines)

    def _length(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else declared_length(self.headers) or 0


def chunk(data: bytes) -> bytes:
    """`data` as a chunk of the chunked coding (RFC 9112 section 7.1); of nothing nothing, which would be its end."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
