"""What became of the spans, as a metric."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class SpanCounts(Collector):
    """`dropped`: the queue was full, or the process ended first. `failed`: the endpoint did not take them.

    `owner`: `agent` or `manager`, the first word of the metric's name.
    """

    def __init__(self, owner: str) -> None:
        self._name = f"{owner}_trace_spans"
        self.exported = 0
        self.failed = 0
        self.dropped = 0

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, "Spans by what became of them.", labels=("outcome",))
        for outcome in ("exported", "failed", "dropped"):
            family.add_metric((outcome,), getattr(self, outcome))
        yield family
