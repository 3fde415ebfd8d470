"""How long a client may take to send what it has begun, so that half-sent requests hold nothing for ever.

A head has a fixed time. A body has to come at a pace: each byte buys time, up to a reserve, so that an upload may take
hours and pause, and still a byte a minute is no upload. While the server itself does not read, no time passes.
"""

from __future__ import annotations

from enum import Enum

# From the connection, or from a request's first byte, until its head is complete.
HEAD_SECONDS = 30.0
# A body may stay out for so long, and is expected at this pace once it has used that up.
BODY_SECONDS = 60.0
BODY_BYTES_PER_SECOND = 100
# A connection without a request. Longer than the default between two heartbeats, so that these keep theirs.
KEEP_ALIVE_SECONDS = 15.0


class Awaited(Enum):
    """What the client has to send next."""

    NOTHING = "nothing"
    """It is the server's turn."""
    REQUEST = "request"
    HEAD = "head"
    BODY = "body"


class ReadLimits:
    """Of one connection, pure: every `now` is the caller's, in monotonic seconds."""

    __slots__ = ("awaited", "until")

    def __init__(self, now: float) -> None:
        self.awaited = Awaited.REQUEST
        self.until = now + HEAD_SECONDS

    def head_begins(self, now: float) -> None:
        """The first byte of a request."""
        self.awaited, self.until = Awaited.HEAD, now + HEAD_SECONDS

    def body_begins(self, now: float) -> None:
        """The head is complete."""
        self.awaited, self.until = Awaited.BODY, now + BODY_SECONDS

    def body_comes(self, now: float, size: int) -> None:
        """So many bytes of the body."""
        self.until = min(self.until + size / BODY_BYTES_PER_SECOND, now + BODY_SECONDS)

    def request_ends(self) -> None:
        """The request is there as a whole."""
        self.awaited = Awaited.NOTHING

    def answered(self, now: float) -> None:
        """The answer has gone, and the client may ask again."""
        if self.awaited is Awaited.NOTHING:
            self.awaited, self.until = Awaited.REQUEST, now + KEEP_ALIVE_SECONDS

    def server_is_busy(self, now: float) -> None:
        """The server keeps the client waiting, which is not the client's fault."""
        self.until = max(self.until, now + BODY_SECONDS)

    def is_over(self, now: float) -> bool:
        """The client has taken too long."""
        return self.awaited is not Awaited.NOTHING and now >= self.until
