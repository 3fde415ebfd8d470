"""Histograms and outcomes of forwarded requests, for each agent."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from manager.telemetry.exposition import Family, escape
from manager.telemetry.histogram import Buckets, Histogram
from manager.telemetry.traffic import Traffic

# A hop takes a fraction of a millisecond, an agent's work up to minutes.
BUCKETS = Buckets(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_HISTOGRAMS = (
    ("queue", "manager_forward_queue_seconds", "Until an instance took the request."),
    ("connect", "manager_forward_connect_seconds", "Until a connection to the instance was there, kept or new."),
    ("first_byte", "manager_forward_first_byte_seconds", "From the request to the head of the instance's answer."),
    ("total", "manager_forward_duration_seconds", "From the request's arrival to the end of its answer."),
)
_OUTCOMES = "manager_forward_requests_total"
_FAILED = frozenset({"5xx", "broken_off"})
# How long these took says nothing about the agent: it was not asked, refused, or nobody waited for its answer.
_UNTIMED = frozenset({"4xx", "client_gone"})
# Told of every agent from the start: of a counter that begins at 1 Prometheus never sees the first increase.
_NONE_YET = dict.fromkeys(("2xx", "4xx", "5xx", "broken_off", "client_gone"), 0)


class _Agent:
    __slots__ = ("connect", "first_byte", "outcomes", "queue", "total")

    def __init__(self) -> None:
        self.queue, self.connect = Histogram(BUCKETS), Histogram(BUCKETS)
        self.first_byte, self.total = Histogram(BUCKETS), Histogram(BUCKETS)
        self.outcomes = _NONE_YET.copy()


class ForwardMetrics:
    """Observations of unknown agents are the caller's to leave out. `traffic` is told of each request too."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._agents: dict[str, _Agent] = {}

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
        was_tried = connected is not None and outcome not in _UNTIMED
        self._traffic.observe(agent_id, failed=outcome in _FAILED, seconds=total if was_tried else None)

    def retain(self, agent_ids: Collection[str]) -> None:
        """Forget every other agent."""
        self._agents = {agent_id: agent for agent_id, agent in self._agents.items() if agent_id in agent_ids}

    def families(self, agent_ids: Collection[str]) -> Iterator[Family]:
        """What is known of these agents; in whatever thread."""
        known = [(f'agent_id="{escape(agent_id)}"', self._agents.get(agent_id)) for agent_id in agent_ids]
        for field, name, text in _HISTOGRAMS:
            lines = [getattr(agent, field).text(name, labels) for labels, agent in known if agent is not None]
            yield Family(name, "histogram", text, added=lines)
        yield Family(
            _OUTCOMES,
            "counter",
            "Forwarded requests, by the class of their status or how they broke off.",
            added=[
                f'{_OUTCOMES}{{{labels},outcome="{outcome}"}} {count}\n'
                for labels, agent in known
                for outcome, count in (agent.outcomes.copy() if agent is not None else _NONE_YET).items()
            ],
        )
