"""The forwarded requests of the last minutes, agent by agent: how many, how many failed, and how long they took.

Latencies are counted in buckets that grow by a constant factor, so that a quantile of any size is as exact
(DDSketch: Masson, Rim and Lee, VLDB 2019). Buckets of one interval can be added to another's and taken away again.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

RELATIVE_ERROR = 0.05
"""How far a quantile may be from the true one, as a share of it."""
WINDOW_INTERVALS = 30

_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH = math.log(_GROWTH)
_SHORTEST_SECONDS = 1e-6


class Interval:
    """What ended within one interval. `latencies`: bucket → how many requests."""

    __slots__ = ("errors", "latencies", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.latencies: Counter[int] = Counter()

    def add(self, other: Interval) -> None:
        """Count what another has."""
        self.requests += other.requests
        self.errors += other.errors
        self.latencies.update(other.latencies)

    def subtract(self, other: Interval) -> None:
        """Take away what was added before."""
        self.requests -= other.requests
        self.errors -= other.errors
        self.latencies.subtract(other.latencies)
        # A bucket that is empty again is gone: else the sum would grow with every latency that ever was.
        self.latencies = +self.latencies


@dataclass(frozen=True)
class Recent:
    """Requests of the last five minutes up to this moment. `error_ratio`, `p50_ms` and `p95_ms`: None without any."""

    requests: int = 0
    requests_per_second: float = 0.0
    errors: int = 0
    error_ratio: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None


class _Agent:
    """`window` holds the closed intervals, None for one without requests; `total` is their sum."""

    __slots__ = ("_latencies", "open", "total", "window")

    def __init__(self) -> None:
        self.open = Interval()
        self.window: deque[Interval | None] = deque()
        self.total = Interval()
        self._latencies: tuple[int, float | None, float | None] | None = None

    def close(self) -> Interval:
        """Begin a new interval; answers the old one."""
        closed, self.open = self.open, Interval()
        self.window.append(closed if closed.requests else None)
        self.total.add(closed)
        if len(self.window) > WINDOW_INTERVALS and (oldest := self.window.popleft()) is not None:
            self.total.subtract(oldest)
        self._latencies = None
        return closed

    def latencies(self) -> tuple[float | None, float | None]:
        """The median and the 95th percentile in milliseconds, open interval included."""
        if self._latencies is None or self._latencies[0] != self.open.requests:
            both = self.total.latencies + self.open.latencies
            self._latencies = self.open.requests, quantile_ms(both, 0.5), quantile_ms(both, 0.95)
        return self._latencies[1:]


class Traffic:
    """Told of each request as it ends, and of the end of each interval by `close_interval`."""

    def __init__(self) -> None:
        self._agents: dict[str, _Agent] = {}
        self._seconds: deque[float] = deque(maxlen=WINDOW_INTERVALS)

    def observe(self, agent_id: str, *, failed: bool, seconds: float | None) -> None:
        """One request; `seconds` is None where its length says nothing about the agent."""
        agent = self._agents.get(agent_id)
        if agent is None:
            agent = self._agents[agent_id] = _Agent()
        interval = agent.open
        interval.requests += 1
        interval.errors += failed
        if seconds is not None:
            interval.latencies[bucket_of(seconds)] += 1

    def close_interval(self, seconds: float, agent_ids: Collection[str]) -> dict[str, Interval]:
        """What ended since the last call, `seconds` ago; of other agents than these nothing is kept."""
        self._seconds.append(seconds)
        known = {agent_id: agent for agent_id, agent in self._agents.items() if agent_id in agent_ids}
        closed = {agent_id: agent.close() for agent_id, agent in known.items()}
        # Whoever has been idle for the whole window costs nothing until its next request.
        self._agents = {agent_id: agent for agent_id, agent in known.items() if any(agent.window)}
        return closed

    def recent(self, agent_id: str, seconds_open: float) -> Recent:
        """The window and the interval that is still open, which began so many seconds ago."""
        agent = self._agents.get(agent_id)
        return _recent(agent, sum(self._seconds) + seconds_open) if agent is not None else Recent()

    def recents(self, seconds_open: float) -> dict[str, Recent]:
        """The same of every agent that has had requests."""
        seconds = sum(self._seconds) + seconds_open
        return {agent_id: _recent(agent, seconds) for agent_id, agent in self._agents.items()}


def _recent(agent: _Agent, seconds: float) -> Recent:
    requests = agent.total.requests + agent.open.requests
    errors = agent.total.errors + agent.open.errors
    p50_ms, p95_ms = agent.latencies()
    return Recent(
        requests=requests,
        requests_per_second=round(requests / seconds, 4) if seconds > 0 else 0.0,
        errors=errors,
        error_ratio=round(errors / requests, 4) if requests else None,
        p50_ms=p50_ms,
        p95_ms=p95_ms,
    )


def bucket_of(seconds: float) -> int:
    """The bucket of a latency."""
    return math.ceil(math.log(max(seconds, _SHORTEST_SECONDS)) / _LOG_GROWTH)


def quantile_ms(latencies: Mapping[int, int], share: float) -> float | None:
    """The middle of the bucket in which the quantile lies, in milliseconds; None of nothing."""
    rank = share * (sum(latencies.values()) - 1)
    counted = 0
    for bucket in sorted(latencies):
        counted += latencies[bucket]
        if counted > rank:
            return float(f"{2000 * _GROWTH**bucket / (_GROWTH + 1):.3g}")
    return None
