"""How long and how often, for all servers alike."""

from __future__ import annotations

from dataclasses import dataclass

from agent_service.backoff import backoff


@dataclass(frozen=True)
class Timing:
    """Seconds.

    connect: from nothing to a list of tools; the first start of a server may install it. ping_interval: how often a
    server is asked whether it is there. ping: how long it may take to say so. stable: a connection that held so long
    wipes out earlier failures. refresh: the list of tools is asked for no more often. stdin_grace: a server whose stdin
    was closed has so long to leave.
    """

    connect: float = 60.0
    ping_interval: float = 15.0
    ping: float = 5.0
    first_backoff: float = 0.2
    longest_backoff: float = 30.0
    stable: float = 10.0
    refresh: float = 1.0
    stdin_grace: float = 1.0

    def backoff(self, attempt: int, jitter: float) -> float:
        """The wait after the failed `attempt` (from 0)."""
        return backoff(attempt, first=self.first_backoff, longest=self.longest_backoff, jitter=jitter)
