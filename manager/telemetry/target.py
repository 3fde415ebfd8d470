"""What the manager itself knows of each agent, as metric families."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from manager.telemetry.exposition import Family


@dataclass(frozen=True)
class Page:
    """The page of one process: where it is, and what its series are told from others' by."""

    agent_id: str
    instance_id: str
    service_url: str


@dataclass(frozen=True)
class InstanceUsage:
    """What one process has taken so far, and holds; None for what the system does not tell."""

    instance_id: str
    cpu_seconds: float
    open_fds: int | None


@dataclass(frozen=True)
class Target:
    """One agent, the sum of its processes. `pages` are those to be scraped, of which a sidecar has none.

    `cpu_percent`: 100 is one core fully used. `ready_instances`: those that take new tasks.
    """

    agent_id: str
    state: str
    desired_state: str
    ready: bool
    restarts: int
    in_flight: int
    queued: int
    is_answering: bool
    cpu_percent: float | None
    rss_bytes: int | None
    last_heartbeat_at: datetime | None
    wanted_instances: int
    ready_instances: int
    is_sidecar: bool = False
    pages: tuple[Page, ...] = ()
    usage: tuple[InstanceUsage, ...] = ()


_Value = Callable[[Target], float | None]


def agent_families(
    targets: Sequence[Target],
    *,
    up: Collection[str],
    states: Sequence[str],
    desired_states: Sequence[str],
    now: datetime,
) -> list[Family]:
    """One series per agent (and state, or process). `up`: ids of the agents whose page could be read."""
    return [
        *(_numbers(Family(name, kind, text), targets, value) for name, kind, text, value in _measures(up, now)),
        _choices(
            Family("agent_state", "gauge", "The agent's state: 1 for the one it is in."),
            targets,
            states,
            attrgetter("state"),
        ),
        _choices(
            Family("agent_desired_state", "gauge", "What the agent should be: 1 for the one wanted."),
            targets,
            desired_states,
            attrgetter("desired_state"),
        ),
        _cpu_seconds(targets),
    ]


def _measures(up: Collection[str], now: datetime) -> Iterable[tuple[str, str, str, _Value]]:
    yield (
        "agent_up",
        "gauge",
        "Whether the agent's own metrics could be read: 1 yes, 0 no. A sidecar has none.",
        lambda target: None if target.is_sidecar else int(target.agent_id in up),
    )
    yield (
        "agent_ready",
        "gauge",
        "Whether the agent takes new tasks: 1 yes, 0 no.",
        lambda target: int(target.ready),
    )
    yield (
        "agent_instances_ready",
        "gauge",
        "Processes of the agent that take new tasks.",
        attrgetter("ready_instances"),
    )
    yield (
        "agent_instances_wanted",
        "gauge",
        "Processes of the agent that there should be while it is running or paused.",
        attrgetter("wanted_instances"),
    )
    yield (
        "agent_restarts_total",
        "counter",
        "Restarts of the agent, by a crash or by a person; an agent that is taken back keeps its count.",
        attrgetter("restarts"),
    )
    yield (
        "agent_in_flight",
        "gauge",
        "Tasks in flight, as the agent's newest report told.",
        attrgetter("in_flight"),
    )
    yield (
        "agent_queue_length",
        "gauge",
        "Requests that wait for a slot, in the manager and in the agent's processes.",
        attrgetter("queued"),
    )
    yield (
        "agent_circuit_open",
        "gauge",
        "Whether requests are kept away because no instance answers: 1 yes, 0 no.",
        lambda target: int(not target.is_answering),
    )
    yield (
        "agent_cpu_ratio",
        "gauge",
        "CPU use of the agent's processes; 1 is one core fully used.",
        lambda target: None if target.cpu_percent is None else target.cpu_percent / 100,
    )
    yield (
        "agent_resident_memory_bytes",
        "gauge",
        "Resident memory of the agent's processes in bytes.",
        attrgetter("rss_bytes"),
    )
    yield (
        "agent_open_fds",
        "gauge",
        "Open file descriptors of the agent's processes, sockets among them.",
        _open_fds,
    )
    yield (
        "agent_last_heartbeat_age_seconds",
        "gauge",
        "Seconds since the agent's newest heartbeat.",
        lambda target: _age(target, now),
    )


def _open_fds(target: Target) -> float | None:
    """The sum, and None where nothing is known rather than 0."""
    known = [usage.open_fds for usage in target.usage if usage.open_fds is not None]
    return sum(known) if known else None


def _age(target: Target, now: datetime) -> float | None:
    beat = target.last_heartbeat_at
    return max(0.0, (now - beat).total_seconds()) if beat is not None else None


def _numbers(family: Family, targets: Iterable[Target], value: _Value) -> Family:
    for target in targets:
        number = value(target)
        if number is not None:
            family.add(number, agent_id=target.agent_id)
    return family


def _choices(
    family: Family, targets: Iterable[Target], choices: Sequence[str], current: Callable[[Target], str]
) -> Family:
    for target in targets:
        chosen = current(target)
        for choice in choices:
            family.add(int(choice == chosen), agent_id=target.agent_id, state=choice)
    return family


def _cpu_seconds(targets: Iterable[Target]) -> Family:
    """Of each process for itself: a sum over those that come and go would go backwards."""
    family = Family("agent_cpu_seconds_total", "counter", "CPU time that a process of the agent has taken, in seconds.")
    for target in targets:
        for usage in target.usage:
            family.add(usage.cpu_seconds, agent_id=target.agent_id, instance_id=usage.instance_id)
    return family
