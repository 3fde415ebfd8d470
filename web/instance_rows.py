"""The single instances of an agent that has, or should have, more than one; as plain texts.

Pure functions of an `AgentView` and the time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agent_service.plurals import count_text
from manager.supervision.states import AgentState, DesiredState
from manager.supervision.views import AgentView, InstanceView
from web.texts import bytes_text, percent_text
from web.ticks import Tick, age_or_none, left_or_none
from web.tones import Tone


class Phase(StrEnum):
    """Where one instance stands; the order is that of the summary."""

    READY = "ready"
    PAUSED = "paused"
    STARTING = "starting"
    DRAINING = "draining"
    SILENT = "not ready"


_PHASE_TONES = {
    Phase.READY: Tone.GOOD,
    Phase.PAUSED: Tone.IDLE,
    Phase.STARTING: Tone.BUSY,
    Phase.DRAINING: Tone.BUSY,
    Phase.SILENT: Tone.WARN,
}


@dataclass(frozen=True)
class InstanceRow:
    """One process, or one registration from elsewhere. Absent figures are None."""

    phase: Phase
    tone: Tone
    pid: int | None
    address: str | None
    uptime: Tick | None
    heartbeat: Tick | None
    tasks: str
    cpu: str | None
    memory: str | None


@dataclass(frozen=True)
class Instances:
    """`ready` is `2/3`; `summary` is `3 instances: 2 ready, 1 starting`, and None while there is no more than one."""

    ready: str
    summary: str | None
    tasks_left: str | None
    """In the instances that drain while the agent goes on."""
    drain_left: Tick | None
    rows: tuple[InstanceRow, ...]


def instances_of(view: AgentView, now: datetime) -> Instances | None:
    """None for an agent that has, and should have, one at the most."""
    if max(len(view.instances), view.instances_wanted) <= 1:
        return None
    phases = [_phase(instance, view) for instance in view.instances]
    draining = Phase.DRAINING in phases and view.state is not AgentState.STOPPING
    return Instances(
        ready=f"{phases.count(Phase.READY)}/{view.instances_wanted}",
        summary=_summary(phases) if len(phases) > 1 else None,
        tasks_left=_tasks_left(view) if draining else None,
        drain_left=left_or_none(view.drain_deadline, now) if draining else None,
        rows=tuple(_row(instance, phase, now) for instance, phase in zip(view.instances, phases, strict=True)),
    )


def _phase(instance: InstanceView, view: AgentView) -> Phase:
    if instance.draining or view.state is AgentState.STOPPING:
        return Phase.DRAINING
    if instance.ready:
        return Phase.READY
    if instance.last_heartbeat_at is None:
        return Phase.STARTING
    paused = view.state is AgentState.PAUSED or view.desired_state is DesiredState.PAUSED
    return Phase.PAUSED if paused else Phase.SILENT


def _summary(phases: list[Phase]) -> str:
    counts = Counter(phases)
    parts = [f"{counts[phase]} {phase.value}" for phase in Phase if counts[phase]]
    return f"{len(phases)} instances: {', '.join(parts)}"


def _tasks_left(view: AgentView) -> str:
    left = sum(instance.in_flight for instance in view.instances if instance.draining)
    return f"{count_text(left, 'task')} left"


def _row(instance: InstanceView, phase: Phase, now: datetime) -> InstanceRow:
    return InstanceRow(
        phase=phase,
        tone=_PHASE_TONES[phase],
        pid=instance.pid,
        address=instance.service_url,
        uptime=age_or_none(instance.started_at, now),
        heartbeat=age_or_none(instance.last_heartbeat_at, now),
        tasks=count_text(instance.in_flight, "task"),
        cpu=None if instance.cpu_percent is None else percent_text(instance.cpu_percent),
        memory=None if instance.rss_bytes is None else bytes_text(instance.rss_bytes),
    )
