"""How one forwarded request went: how long, and how it ended."""

from __future__ import annotations

from enum import StrEnum

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from manager.clock import Clock
from manager.forwarding.timing import Timing
from manager.telemetry.tracing.port import ForwardTrace


class Outcome(StrEnum):
    """How a request ended that was not answered as a whole; others end as the class of their status, `2xx` to `5xx`."""

    CLIENT_GONE = "client_gone"
    BROKEN_OFF = "broken_off"
    """By the adapter, or by its time limit, after the answer had begun."""


class Course:
    """Begins when it is made."""

    def __init__(self, agent_id: str, clock: Clock) -> None:
        self.agent_id = agent_id
        self.timing = Timing()
        self.status = 0
        self.outcome: str = Outcome.CLIENT_GONE
        self.trace: ForwardTrace | None = None
        """None where traces have no endpoint."""
        self._clock = clock
        self._began = clock.monotonic()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self._clock.monotonic() - self._began

    @property
    def status_class(self) -> str:
        """Such as `2xx`."""
        return f"{self.status // 100}xx"

    def server_timing(self) -> tuple[bytes, bytes]:
        """The header with the times so far."""
        return self.timing.header(self.seconds)

    async def answer(self, response: Response, scope: Scope, receive: Receive, send: Send) -> None:
        """End with an answer of the manager's own."""
        self.status = response.status_code
        response.raw_headers.append(self.server_timing())
        await response(scope, receive, send)
        self.outcome = self.status_class
