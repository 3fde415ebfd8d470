"""Where the time of one request went, as the client is told by Server-Timing and as the histograms count it."""

from __future__ import annotations

from dataclasses import dataclass

_METRIC = b"%b;dur=%.3f"
# Formatted at once, since this is every answer's.
_ALL = b"queue;dur=%.3f, connect;dur=%.3f, agent;dur=%.3f, total;dur=%.3f"


@dataclass(slots=True)
class Timing:
    """Seconds; None for what has not happened. `agent`: from the request being sent to the head of its answer."""

    queued: float | None = None
    connected: float | None = None
    agent: float | None = None

    def milliseconds(self) -> dict[str, float]:
        """What is known, as fields of a log line."""
        known = (("queue_ms", self.queued), ("connect_ms", self.connected), ("agent_ms", self.agent))
        return {name: round(seconds * 1000, 3) for name, seconds in known if seconds is not None}

    def header(self, total: float) -> tuple[bytes, bytes]:
        """`Server-Timing` (W3C), in milliseconds; `total`: all seconds so far."""
        queued, connected, agent = self.queued, self.connected, self.agent
        if queued is None or connected is None or agent is None:
            known = ((b"queue", queued), (b"connect", connected), (b"agent", agent), (b"total", total))
            return b"server-timing", b", ".join(_METRIC % (name, s * 1000) for name, s in known if s is not None)
        return b"server-timing", _ALL % (queued * 1000, connected * 1000, agent * 1000, total * 1000)
