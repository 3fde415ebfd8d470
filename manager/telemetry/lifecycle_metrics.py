"""What becomes of each agent's processes, counted from the events: how they end, how long starts and drains take."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from manager.clock import Clock
from manager.events import Event, EventBus, EventKind
from manager.telemetry.exposition import Family, escape
from manager.telemetry.histogram import Buckets, Histogram

# A forked adapter is there in a tenth of a second, one that loads a model in minutes; a drain may take an hour.
START_BUCKETS = Buckets(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
DRAIN_BUCKETS = Buckets(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

_EXITS = "agent_exits_total"
_STARTS = "agent_start_duration_seconds"
_DRAINS = "agent_drain_duration_seconds"
# Of those that have registered before they were told to be started: a moment, or they are from elsewhere.
_MOST_EARLY = 1000


class ExitReason(StrEnum):
    """Why a process ended: the label of `agent_exits_total`."""

    ASKED = "asked"
    """It was stopped, replaced or killed by a person or a change of config."""
    FINISHED = "finished"
    """By itself, with exit status 0."""
    ERROR = "error"
    """By itself, with another exit status."""
    SIGNAL = "signal"
    """By a signal that was not the manager's."""
    ENDED_BY_MANAGER = "ended_by_manager"
    """It did not register in time, was unresponsive for too long, or held too much memory."""
    UNKNOWN = "unknown"
    """Nobody could collect its status."""


class DrainOutcome(StrEnum):
    """How a drain went: the label of `agent_drain_duration_seconds`."""

    FINISHED = "finished"
    TIMED_OUT = "timed_out"
    """Tasks were in flight at the deadline."""


@dataclass
class _Drain:
    began: float
    outcome: DrainOutcome = DrainOutcome.FINISHED


@dataclass
class _Agent:
    exits: dict[ExitReason, int] = field(default_factory=lambda: dict.fromkeys(ExitReason, 0))
    starts: Histogram = field(default_factory=lambda: Histogram(START_BUCKETS))
    drains: dict[DrainOutcome, Histogram] = field(default_factory=dict)


class LifecycleMetrics:
    """Listens to the bus; what it learns stands on the page of metrics."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._agents: dict[str, _Agent] = {}
        self._starting: dict[str, float] = {}
        self._early: dict[str, float] = {}
        self._draining: dict[str, _Drain] = {}
        self._on = {
            EventKind.INSTANCE_STARTED: self._started,
            EventKind.INSTANCE_ADOPTED: self._adopted,
            EventKind.INSTANCE_REGISTERED: self._registered,
            EventKind.DRAIN_STARTED: self._drain_started,
            EventKind.DRAIN_TIMED_OUT: self._drain_timed_out,
            EventKind.INSTANCE_EXITED: self._exited,
        }

    def listen(self, bus: EventBus) -> None:
        """Count from now on."""
        bus.listen(self._note)

    def retain(self, agent_ids: Collection[str]) -> None:
        """Forget every other agent."""
        self._agents = {agent_id: agent for agent_id, agent in self._agents.items() if agent_id in agent_ids}

    def families(self, agent_ids: Collection[str]) -> Iterator[Family]:
        """What is known of these agents; in whatever thread."""
        known = [(f'agent_id="{escape(agent_id)}"', self._agents.get(agent_id) or _Agent()) for agent_id in agent_ids]
        exits = Family(_EXITS, "counter", "Ends of the agent's processes, by their reason.")
        starts = Family(_STARTS, "histogram", "From the order to start a process to its registration.")
        drains = Family(_DRAINS, "histogram", "From the order to stop a process to its end.")
        for labels, agent in known:
            exits.added += [
                f'{_EXITS}{{{labels},reason="{reason}"}} {count}\n' for reason, count in agent.exits.items()
            ]
            starts.added.append(agent.starts.text(_STARTS, labels))
            drains.added += [
                histogram.text(_DRAINS, f'{labels},outcome="{outcome}"')
                for outcome, histogram in agent.drains.copy().items()
            ]
        return iter((exits, starts, drains))

    def _note(self, event: Event) -> None:
        note = self._on.get(event.kind)
        if note is not None and event.agent_id is not None and event.instance_id is not None:
            note(event, event.agent_id, event.instance_id)

    def _started(self, event: Event, agent_id: str, instance_id: str) -> None:
        spawned = event.data.get("spawn_seconds")
        began = self._clock.monotonic() - (spawned if isinstance(spawned, float) else 0.0)
        registered = self._early.pop(instance_id, None)
        if registered is None:
            self._starting[instance_id] = began
        else:
            # A process can register before its spawner has told that it is there.
            self._agent(agent_id).starts.observe(max(0.0, registered - began))

    def _adopted(self, event: Event, agent_id: str, instance_id: str) -> None:
        self._early.pop(instance_id, None)

    def _registered(self, event: Event, agent_id: str, instance_id: str) -> None:
        now = self._clock.monotonic()
        began = self._starting.pop(instance_id, None)
        if began is not None:
            self._agent(agent_id).starts.observe(now - began)
            return
        self._early[instance_id] = now
        if len(self._early) > _MOST_EARLY:
            del self._early[next(iter(self._early))]

    def _drain_started(self, event: Event, agent_id: str, instance_id: str) -> None:
        # The same drain with a nearer deadline is told of again.
        self._draining.setdefault(instance_id, _Drain(self._clock.monotonic()))

    def _drain_timed_out(self, event: Event, agent_id: str, instance_id: str) -> None:
        if instance_id in self._draining:
            self._draining[instance_id].outcome = DrainOutcome.TIMED_OUT

    def _exited(self, event: Event, agent_id: str, instance_id: str) -> None:
        agent = self._agent(agent_id)
        agent.exits[_reason(event)] += 1
        self._starting.pop(instance_id, None)
        self._early.pop(instance_id, None)
        drain = self._draining.pop(instance_id, None)
        if drain is not None:
            histogram = agent.drains.setdefault(drain.outcome, Histogram(DRAIN_BUCKETS))
            histogram.observe(self._clock.monotonic() - drain.began)

    def _agent(self, agent_id: str) -> _Agent:
        return self._agents.setdefault(agent_id, _Agent())


def _reason(event: Event) -> ExitReason:
    data = event.data
    if data.get("by_manager"):
        return ExitReason.ENDED_BY_MANAGER
    if data.get("expected"):
        return ExitReason.ASKED
    if data.get("signal") is not None:
        return ExitReason.SIGNAL
    if data.get("code") is None:
        return ExitReason.UNKNOWN
    return ExitReason.ERROR if data["code"] else ExitReason.FINISHED
