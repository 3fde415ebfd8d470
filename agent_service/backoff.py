"""How long to wait before something that failed is tried again."""

from __future__ import annotations

# More doublings than any bound lasts, and few enough for a float.
_MOST_DOUBLINGS = 20


def backoff(attempt: int, *, first: float, longest: float, jitter: float) -> float:
    """Seconds after the failed `attempt` (from 0): doubling from `first` to at most `longest`.

    Half of it is spread by `jitter` (0 to 1), so that many who failed at once do not knock in step.
    """
    whole = min(longest, first * 2.0 ** min(attempt, _MOST_DOUBLINGS))
    return whole * (0.5 + 0.5 * jitter)
