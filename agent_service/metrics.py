"""The adapter's Prometheus metrics, in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

# Seconds. Agents answer in milliseconds (rules) up to many minutes (models and tools).
DURATION_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Outcome(StrEnum):
    """How an /execute ended; the label of `agent_tasks_total`."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class Metrics:
    """What `GET /metrics` shows. The gauges ask `running` and `queued` at every scrape."""

    def __init__(self, *, running: Callable[[], int], queued: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        Gauge("agent_task_running", "Tasks that run now.", registry=self.registry).set_function(running)
        Gauge("agent_tasks_queued", "Tasks that wait for a slot.", registry=self.registry).set_function(queued)
        self._tasks = Counter(
            "agent_tasks_total", "Tasks by how they ended.", labelnames=("outcome",), registry=self.registry
        )
        for outcome in Outcome:
            self._tasks.labels(outcome=outcome.value)
        self._duration = Histogram(
            "agent_task_duration_seconds",
            "Time from the start of a task to its end, waiting for a slot not counted.",
            buckets=DURATION_BUCKETS,
            registry=self.registry,
        )

    def rejected(self) -> None:
        """Count a task that was not taken."""
        self._tasks.labels(outcome=Outcome.REJECTED.value).inc()

    def finished(self, outcome: Outcome, duration_seconds: float | None) -> None:
        """Count a task that ended; `duration_seconds` is None when it never started."""
        self._tasks.labels(outcome=outcome.value).inc()
        if duration_seconds is not None:
            self._duration.observe(duration_seconds)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Body and content type for the scraper's Accept header."""
        encode, content_type = choose_encoder(accept)
        return encode(_WithoutCreated(self.registry)), content_type


class _WithoutCreated(Collector):
    """The registry without its `_created` series, which tell nothing here and which promtool finds fault with.

    prometheus-client can switch them off for the whole process only, and that belongs to the agent's code too.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
