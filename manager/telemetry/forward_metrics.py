"""Histograms of forwarded requests, for each agent.

Counted by hand: the library's own histogram takes longer for one observation than this for all five series.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# Seconds. A hop takes a fraction of a millisecond, an agent's work up to minutes.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_BOUNDS = [*map(str, map(float, BUCKETS)), "+Inf"]


class _Times:
    """One histogram of one agent."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Bound and count of all up to it."""
        found, so_far = [], 0
        for bound, count in zip(_BOUNDS, self.counts, strict=True):
            so_far += count
            found.append((bound, float(so_far)))
        return found


class _Agent:
    __slots__ = ("connect", "first_byte", "outcomes", "queue", "total")

    def __init__(self) -> None:
        self.queue, self.connect, self.first_byte, self.total = _Times(), _Times(), _Times(), _Times()
        self.outcomes: dict[str, int] = {}


_HISTOGRAMS = (
    ("queue", "manager_forward_queue_seconds", "Until an instance took the request."),
    ("connect", "manager_forward_connect_seconds", "Until a connection to the instance was there, kept or new."),
    ("first_byte", "manager_forward_first_byte_seconds", "From the request to the head of the instance's answer."),
    ("total", "manager_forward_duration_seconds", "From the request's arrival to the end of its answer."),
)


class ForwardMetrics(Collector):
    """Registers itself. Observations of unknown agents are the caller's to leave out."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._agents: dict[str, _Agent] = {}
        registry.register(self)

    def observe(
        self,
        agent_id: str,
        outcome: str,
        *,
        queued: float | None,
        connected: float | None,
        agent: float | None,
        total: float,
    ) -> None:
        """One request, in seconds; None for what has not happened. `outcome`: `2xx` to `5xx`, or how it broke off."""
        found = self._agents.get(agent_id)
        if found is None:
            found = self._agents[agent_id] = _Agent()
        found.outcomes[outcome] = found.outcomes.get(outcome, 0) + 1
        found.total.observe(total)
        for times, seconds in ((found.queue, queued), (found.connect, connected), (found.first_byte, agent)):
            if seconds is not None:
                times.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        for field, name, text in _HISTOGRAMS:
            family = HistogramMetricFamily(name, text, labels=["agent_id"])
            for agent_id, agent in self._agents.items():
                times: _Times = getattr(agent, field)
                family.add_metric([agent_id], times.buckets(), sum_value=times.total)
            yield family
        outcomes = CounterMetricFamily(
            "manager_forward_requests",
            "Forwarded requests, by the class of their status or how they broke off.",
            labels=["agent_id", "outcome"],
        )
        for agent_id, agent in self._agents.items():
            for outcome, count in agent.outcomes.items():
                outcomes.add_metric([agent_id, outcome], count)
        yield outcomes
