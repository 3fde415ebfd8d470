"""How the manager itself fares, for its time series: what it takes, and its longest delays since the last look."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

Readings = dict[str, float | None]


class Vitals:
    """Counted up by `ManagerMetrics`, emptied by `take`. `cpu_seconds` and `rss_bytes` are of this process."""

    def __init__(
        self,
        *,
        cpu_seconds: Callable[[], float] = time.process_time,
        rss_bytes: Callable[[], float] = lambda: float(psutil.Process().memory_info().rss),
    ) -> None:
        self._cpu_seconds = cpu_seconds
        self._rss_bytes = rss_bytes
        self._cpu_before = cpu_seconds()
        self._requests = 0
        self._longest_lag = 0.0
        self._longest_store_call: float | None = None
        self._open_streams = 0

    def request(self) -> None:
        """An HTTP request was answered."""
        self._requests += 1

    def lag(self, seconds: float) -> None:
        """The event loop came so much too late."""
        self._longest_lag = max(self._longest_lag, seconds)

    def store_call(self, seconds: float) -> None:
        """The store took so long."""
        self._longest_store_call = max(self._longest_store_call or 0.0, seconds)

    def streams(self, change: int) -> None:
        """So many more streams are open, or fewer."""
        self._open_streams += change

    def take(self, seconds: float) -> Readings:
        """What `series.MANAGER_SERIES` names, of the last so many seconds, which is how long ago it was last taken."""
        now = self._cpu_seconds()
        cpu, self._cpu_before = now - self._cpu_before, now
        readings: Readings = {
            "cpu_percent": round(100 * cpu / seconds, 2) if seconds > 0 else None,
            "rss_bytes": self._rss_bytes(),
            "requests_per_second": round(self._requests / seconds, 4) if seconds > 0 else None,
            "loop_lag_ms": round(self._longest_lag * 1000, 3),
            "store_ms": None if self._longest_store_call is None else round(self._longest_store_call * 1000, 3),
            "open_streams": self._open_streams,
        }
        self._requests, self._longest_lag, self._longest_store_call = 0, 0.0, None
        return readings
