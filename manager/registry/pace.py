"""How fast an agent works off its requests, and so when it is worth trying again."""

from __future__ import annotations

import math

SHORTEST_RETRY_SECONDS = 1
LONGEST_RETRY_SECONDS = 120

# Of the newest measurement: some twenty requests make the mean forget.
_WEIGHT = 0.1


class Pace:
    """A moving average of how long a request holds its slot."""

    __slots__ = ("_mean",)

    def __init__(self) -> None:
        self._mean: float | None = None

    def note(self, seconds: float) -> None:
        """A request has given its slot back after so many seconds."""
        self._mean = seconds if self._mean is None else self._mean + _WEIGHT * (seconds - self._mean)

    def retry_after(self, waiting: int, slots: int) -> int:
        """Whole seconds until those who wait now will have been served by so many slots; bounded."""
        needed = (self._mean or 0.0) * (waiting + 1) / max(slots, 1)
        return min(max(math.ceil(needed), SHORTEST_RETRY_SECONDS), LONGEST_RETRY_SECONDS)
