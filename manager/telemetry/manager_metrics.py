"""The manager's own metrics: build, events, HTTP requests and streams, its store, its event loop and its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from manager.events import Event, EventBus, EventKind
from manager.telemetry.vitals import Vitals

# Seconds. An execute may take minutes, a page takes milliseconds.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# Of what should take a millisecond and delays everything when it takes longer.
_SHORT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class ManagerMetrics:
    """Owns one registry; nothing is registered with prometheus_client's global one. `vitals` is told the same."""

    def __init__(self, *, version: str) -> None:
        self.registry = CollectorRegistry()
        self.vitals = Vitals()
        ProcessCollector(registry=self.registry)
        tasks = Gauge("manager_asyncio_tasks", "Tasks of the manager's event loop.", registry=self.registry)
        tasks.set_function(_counting_tasks())
        Info("manager_build", "The manager's version.", registry=self.registry).info({"version": version})
        self._events = Counter("manager_events_total", "Lifecycle events, by kind.", ["kind"], registry=self.registry)
        self._requests = Counter(
            "manager_http_requests_total",
            "HTTP requests answered, by method, route and class of status.",
            ["method", "route", "status_class"],
            registry=self.registry,
        )
        self._durations = Histogram(
            "manager_http_request_duration_seconds",
            "Time until the answer to an HTTP request began; how long a stream then lasts is not in it.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._streams = Gauge(
            "manager_open_streams", "Streams of server-sent events that are open.", ["route"], registry=self.registry
        )
        self._loop_lag = Histogram(
            "manager_event_loop_lag_seconds",
            "By how much a timer of the event loop came too late.",
            buckets=_SHORT_BUCKETS,
            registry=self.registry,
        )
        self._store = Histogram(
            "manager_store_duration_seconds",
            "Calls of the store, from asking to the answer, waiting for earlier ones included.",
            buckets=_SHORT_BUCKETS,
            registry=self.registry,
        )
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        for kind in EventKind:
            self._events.labels(kind.value)

    def count_events(self, bus: EventBus) -> None:
        """Count every event from now on."""
        bus.listen(self._count)

    def observe_request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """One answered request; `route` is a template such as `/api/agent-services/{agent_id}`."""
        key = method, route, status // 100
        series = self._series.get(key)
        if series is None:
            # Finding a series by its labels takes longer than counting.
            series = self._requests.labels(method, route, f"{status // 100}xx"), self._durations.labels(method, route)
            self._series[key] = series
        counter, histogram = series
        counter.inc()
        histogram.observe(seconds)
        self.vitals.request()

    def stream_opened(self, route: str) -> None:
        """A stream of events has begun."""
        self._streams.labels(route).inc()
        self.vitals.streams(1)

    def stream_closed(self, route: str) -> None:
        """And has ended, however it did."""
        self._streams.labels(route).dec()
        self.vitals.streams(-1)

    def observe_loop_lag(self, seconds: float) -> None:
        """A timer came so much too late."""
        self._loop_lag.observe(seconds)
        self.vitals.lag(seconds)

    def observe_store(self, seconds: float) -> None:
        """A call of the store took so long."""
        self._store.observe(seconds)
        self.vitals.store_call(seconds)

    def _count(self, event: Event) -> None:
        self._events.labels(event.kind.value).inc()


def _counting_tasks() -> Callable[[], float]:
    """Counts those of the loop that runs now, from whatever thread."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return lambda: 0
    return lambda: len(asyncio.all_tasks(loop))
