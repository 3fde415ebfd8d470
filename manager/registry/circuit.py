"""A circuit: keeps requests away from an instance that keeps failing to answer, and tries it again now and then.

```
closed ──FAILURES_TO_OPEN failures in a row──▶ open ──delay over──▶ half-open: one request is let through
   ▲                                            ▲                     │
   └────────────── an answer ───────────────────┼─────────────────────┤
                                                └── failure ──────────┘  with twice the delay, at most MAX_DELAY_SECONDS
```
"""

from __future__ import annotations

from enum import StrEnum

FAILURES_TO_OPEN = 5
FIRST_DELAY_SECONDS = 1.0
MAX_DELAY_SECONDS = 30.0


class CircuitState(StrEnum):
    """`open`: gets nothing until its delay is over; `half_open`: one request at a time finds out."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Circuit:
    """Pure: every `now` is the caller's, in monotonic seconds.

    A probe whose outcome is never told (its client left) blocks nothing: after the delay there is another.
    """

    __slots__ = ("_delay", "_failures", "_is_probed", "retry_at")

    def __init__(self) -> None:
        self._failures = 0
        self._delay = FIRST_DELAY_SECONDS
        self._is_probed = False
        self.retry_at: float | None = None
        """When the next request may be let through; None while closed."""

    @property
    def state(self) -> CircuitState:
        """Closed, open, or half-open while a probe is under way."""
        if self.retry_at is None:
            return CircuitState.CLOSED
        return CircuitState.HALF_OPEN if self._is_probed else CircuitState.OPEN

    @property
    def failures(self) -> int:
        """Failures since the last answer."""
        return self._failures

    def admits(self, now: float) -> bool:
        """Whether a request may be sent."""
        return self.retry_at is None or now >= self.retry_at

    def probe(self, now: float) -> bool:
        """Note that a request is sent; whether it is the one that finds out."""
        if self.retry_at is None:
            return False
        self._is_probed = True
        self.retry_at = now + self._delay
        return True

    def answered(self) -> bool:
        """Note an answer, whatever its status; whether this closed the circuit."""
        was_open = self.retry_at is not None
        self._failures = 0
        self._delay = FIRST_DELAY_SECONDS
        self._is_probed = False
        self.retry_at = None
        return was_open

    def failed(self, now: float, *, is_probe: bool) -> bool:
        """Note that no answer came; whether this opened the circuit.

        Requests that were sent before it opened and fail after it tell nothing new.
        """
        self._failures += 1
        if self.retry_at is not None:
            if is_probe:
                self._is_probed = False
                self._delay = min(2 * self._delay, MAX_DELAY_SECONDS)
                self.retry_at = now + self._delay
            return False
        if self._failures < FAILURES_TO_OPEN:
            return False
        self.retry_at = now + self._delay
        return True
