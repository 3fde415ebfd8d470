"""Time series of the last hour for every agent and the manager itself, in memory: what a dashboard draws.

Fed by what is known anyway: the forward path, heartbeats and the samples of processes; no agent is asked for anything.
Everything begins anew with the manager.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import nan
from typing import Protocol

from manager.clock import Clock
from manager.telemetry.traffic import Interval, Recent, Traffic, quantile_ms

INTERVAL_SECONDS = 10.0
CAPACITY = 360
SPARKLINE_POINTS = 30

AGENT_SERIES = (
    "requests_per_second",
    "error_ratio",
    "p50_ms",
    "p95_ms",
    "cpu_percent",
    "rss_bytes",
    "in_flight",
    "queued",
)
MANAGER_SERIES = ("cpu_percent", "rss_bytes", "requests_per_second", "loop_lag_ms", "store_ms", "open_streams")

# So that the oldest points are cut off now and then rather than one by one.
_SLACK = 60

Points = list[float | None]
Reading = Mapping[str, float | None]


class AgentReading(Protocol):
    """What is known of one agent at the end of an interval. `cpu_percent`: 100 is one core."""

    @property
    def id(self) -> str: ...

    @property
    def in_flight(self) -> int: ...

    @property
    def queued(self) -> int: ...

    @property
    def cpu_percent(self) -> float | None: ...

    @property
    def rss_bytes(self) -> int | None: ...


@dataclass(frozen=True)
class Series:
    """Points oldest first, all lists equally long; None for what is not known. `ended_at`: of the newest point."""

    interval_seconds: float
    ended_at: datetime | None
    values: dict[str, Points]


class _Rows:
    """The points of one agent, by name. As numbers in arrays: 200 agents' hours take 5 MB."""

    def __init__(self, names: Iterable[str]) -> None:
        self._rows = {name: array("d") for name in names}

    def append(self, reading: Reading) -> None:
        """One more point of each."""
        for name, row in self._rows.items():
            value = reading[name]
            row.append(nan if value is None else value)
            if len(row) >= CAPACITY + _SLACK:
                del row[:-CAPACITY]

    def skip(self, points: int) -> None:
        """Nothing is known of so many intervals."""
        for row in self._rows.values():
            row.extend([nan] * min(points, CAPACITY))
            del row[:-CAPACITY]

    def newest(self, name: str, points: int) -> Points:
        """At most so many points, oldest first."""
        return [None if value != value else value for value in self._rows[name][-points:]]


class FleetSeries:
    """`vitals` tells what `MANAGER_SERIES` names, of the seconds since it was last asked.

    Each of `keepers` is told with every point which agents there are, to forget all others.

    Everything but `run` answers at once; `version` grows by one with each point.
    """

    def __init__(
        self,
        *,
        agents: Callable[[], Sequence[AgentReading]],
        traffic: Traffic,
        vitals: Callable[[float], Reading],
        clock: Clock,
        keepers: Sequence[Callable[[Collection[str]], None]] = (),
    ) -> None:
        self.version = 0
        self._keepers = keepers
        self._agents = agents
        self._traffic = traffic
        self._vitals = vitals
        self._clock = clock
        self._rows: dict[str, _Rows] = {}
        self._manager = _Rows(MANAGER_SERIES)
        self._ended = clock.monotonic()
        self._asked: dict[tuple[tuple[str, ...], int], dict[str, dict[str, Points]]] = {}

    async def run(self) -> None:
        """Take a point at the end of each interval, for ever."""
        due = self._clock.monotonic()
        while True:
            due += INTERVAL_SECONDS
            # uvloop counts in whole milliseconds and may wake a little early: not yet the end of the interval.
            while (left := due - self._clock.monotonic()) > 0:  # noqa: ASYNC110 - no event
                await asyncio.sleep(left)
            # The loop stood still for so long, or the machine slept: those intervals are not to be had any more.
            missed = int((self._clock.monotonic() - due) // INTERVAL_SECONDS)
            due += missed * INTERVAL_SECONDS
            self.take_point(missed)

    def take_point(self, missed: int = 0) -> None:
        """One point of everything, after so many intervals of which nothing is known: none or more, else ValueError."""
        if missed < 0:
            raise ValueError(f"Intervals cannot be taken back: {missed}")
        now = self._clock.monotonic()
        seconds, self._ended = now - self._ended, now
        readings = {reading.id: reading for reading in self._agents()}
        closed = self._traffic.close_interval(seconds, readings.keys())
        for rows in (self._manager, *self._rows.values()):
            rows.skip(missed)
        self._manager.append(self._vitals(seconds))
        before, self._rows = self._rows, {}
        for agent_id, reading in readings.items():
            rows = self._rows[agent_id] = before.get(agent_id) or _Rows(AGENT_SERIES)
            rows.append(_point(reading, closed.get(agent_id), seconds))
        for retain in self._keepers:
            retain(readings.keys())
        self.version += 1
        self._asked.clear()

    def of(self, agent_id: str, *, points: int = CAPACITY) -> Series:
        """All series of one agent; empty lists for one that is not known."""
        rows = self._rows.get(agent_id) or _Rows(AGENT_SERIES)
        return self._series(rows, AGENT_SERIES, points)

    def manager(self, *, points: int = CAPACITY) -> Series:
        """All series of the manager's own process."""
        return self._series(self._manager, MANAGER_SERIES, points)

    def all(self, names: Sequence[str], *, points: int = SPARKLINE_POINTS) -> dict[str, dict[str, Points]]:
        """Agent id → name → points; one that came after the newest point has none yet.

        The same object until the next point: only to be read.
        """
        asked = tuple(names), points
        if asked not in self._asked:
            found: dict[str, dict[str, Points]] = defaultdict(lambda: {name: [] for name in asked[0]})
            for agent_id, rows in self._rows.items():
                found[agent_id] = {name: rows.newest(name, points) for name in names}
            self._asked[asked] = found
        return self._asked[asked]

    def recent(self, agent_id: str) -> Recent:
        """Requests of the last five minutes, up to this moment."""
        return self._traffic.recent(agent_id, self._clock.monotonic() - self._ended)

    def recents(self) -> dict[str, Recent]:
        """The same of every agent; `[]` answers for one without requests too."""
        seconds_open = self._clock.monotonic() - self._ended
        return defaultdict(Recent, self._traffic.recents(seconds_open))

    @property
    def ended_at(self) -> datetime | None:
        """When the newest point's interval ended, by the wall clock as it is now; None before the first point."""
        if not self.version:
            return None
        return self._clock.now() - timedelta(seconds=self._clock.monotonic() - self._ended)

    def _series(self, rows: _Rows, names: Iterable[str], points: int) -> Series:
        return Series(INTERVAL_SECONDS, self.ended_at, {name: rows.newest(name, points) for name in names})


def _point(reading: AgentReading, closed: Interval | None, seconds: float) -> Reading:
    requests = closed or Interval()
    return {
        "requests_per_second": round(requests.requests / seconds, 4) if seconds > 0 else None,
        "error_ratio": round(requests.errors / requests.requests, 4) if requests.requests else None,
        "p50_ms": quantile_ms(requests.latencies, 0.5),
        "p95_ms": quantile_ms(requests.latencies, 0.95),
        "cpu_percent": reading.cpu_percent,
        "rss_bytes": reading.rss_bytes,
        "in_flight": reading.in_flight,
        "queued": reading.queued,
    }
