"""What the manager itself knows of each agent, as metric families."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from manager.telemetry.exposition import Family


@dataclass(frozen=True)
class Target:
    """One instance to be scraped; `service_url` and `instance_id` are None while an agent has none.

    `cpu_percent`: 100 is one core fully used.
    """

    agent_id: str
    instance_id: str | None
    service_url: str | None
    state: str
    desired_state: str
    ready: bool
    restarts: int
    in_flight: int
    cpu_percent: float | None
    rss_bytes: int | None
    last_heartbeat_at: datetime | None
    queued: int = 0
    is_answering: bool = True


_Value = Callable[[Sequence[Target]], float | None]


def agent_families(
    targets: Iterable[Target],
    *,
    up: Collection[str],
    states: Sequence[str],
    desired_states: Sequence[str],
    now: datetime,
) -> list[Family]:
    """One series per agent (and state); instances of one agent are added up. `up` holds agent ids."""
    groups = {
        agent_id: list(group)
        for agent_id, group in groupby(sorted(targets, key=attrgetter("agent_id")), attrgetter("agent_id"))
    }
    families = [_numbers(Family(name, kind, text), groups, value) for name, kind, text, value in _measures(up, now)]
    for family, choices, name in (
        (Family("agent_state", "gauge", "The agent's state: 1 for the one it is in."), states, "state"),
        (
            Family("agent_desired_state", "gauge", "What the agent should be: 1 for the one wanted."),
            desired_states,
            "desired_state",
        ),
    ):
        families.append(_choices(family, groups, choices, attrgetter(name)))
    return families


def _measures(up: Collection[str], now: datetime) -> list[tuple[str, str, str, _Value]]:
    return [
        (
            "agent_up",
            "gauge",
            "Whether the agent's own metrics could be read: 1 yes, 0 no.",
            lambda group: int(group[0].agent_id in up),
        ),
        (
            "agent_ready",
            "gauge",
            "Whether the agent takes new tasks: 1 yes, 0 no.",
            lambda group: int(any(target.ready for target in group)),
        ),
        (
            "agent_restarts_total",
            "counter",
            "Restarts of the agent, by a crash or by a person; an agent that is taken back keeps its count.",
            lambda group: max(target.restarts for target in group),
        ),
        (
            "agent_in_flight",
            "gauge",
            "Tasks in flight, as the agent's newest report told.",
            lambda group: sum(target.in_flight for target in group),
        ),
        (
            "agent_queue_length",
            "gauge",
            "Requests that wait for a slot, in the manager and in the agent's processes.",
            lambda group: sum(target.queued for target in group),
        ),
        (
            "agent_circuit_open",
            "gauge",
            "Whether requests are kept away because no instance answers: 1 yes, 0 no.",
            lambda group: int(not any(target.is_answering for target in group)),
        ),
        (
            "agent_cpu_ratio",
            "gauge",
            "CPU use of the agent's processes; 1 is one core fully used.",
            lambda group: _sum(target.cpu_percent / 100 for target in group if target.cpu_percent is not None),
        ),
        (
            "agent_resident_memory_bytes",
            "gauge",
            "Resident memory of the agent's processes in bytes.",
            lambda group: _sum(target.rss_bytes for target in group if target.rss_bytes is not None),
        ),
        (
            "agent_last_heartbeat_age_seconds",
            "gauge",
            "Seconds since the agent's newest heartbeat.",
            lambda group: _age(group, now),
        ),
    ]


def _sum(values: Iterable[float]) -> float | None:
    """The sum, and None where nothing is known rather than 0."""
    known = list(values)
    return sum(known) if known else None


def _age(group: Sequence[Target], now: datetime) -> float | None:
    beats = [target.last_heartbeat_at for target in group if target.last_heartbeat_at is not None]
    return max(0.0, (now - max(beats)).total_seconds()) if beats else None


def _numbers(family: Family, groups: dict[str, list[Target]], value: _Value) -> Family:
    for agent_id, group in groups.items():
        number = value(group)
        if number is not None:
            family.add(number, agent_id=agent_id)
    return family


def _choices(
    family: Family, groups: dict[str, list[Target]], choices: Sequence[str], current: Callable[[Target], str]
) -> Family:
    for agent_id, group in groups.items():
        chosen = {current(target) for target in group}
        for choice in choices:
            family.add(int(choice in chosen), agent_id=agent_id, state=choice)
    return family
