"""Where the time of one request went, as the client is told by Server-Timing and as the histograms count it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
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
        known = (("queue", self.queued), ("connect", self.connected), ("agent", self.agent), ("total", total))
        metrics = [f"{name};dur={seconds * 1000:.3f}" for name, seconds in known if seconds is not None]
        return b"server-timing", ", ".join(metrics).encode()
