"""What the templates show of the fleet, as plain texts. Pure functions of an `AgentView` and the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent_service.plurals import count_text
from manager.registry.circuit import CircuitState
from manager.supervision.states import AgentState, DesiredState
from manager.supervision.views import AgentView, LastExit
from web.agent_actions import Button, row_buttons
from web.figures import NO_FIGURES, Figures
from web.instance_rows import Instances, instances_of
from web.texts import bytes_text, percent_text
from web.ticks import Tick, age, age_or_none, left_or_none
from web.tones import STATE_TONES, Tone

SORTED_BY = ("state", "heartbeat", "pid", "restarts", "work", "latency", "errors", "cpu", "memory")
"""The columns whose rows are sorted by a number, in the order of `AgentRow.order`."""

_WELL = (AgentState.RUNNING, AgentState.PAUSED)
_URGENCY = [Tone.BAD, Tone.WARN, Tone.BUSY, Tone.IDLE, Tone.GOOD]
_ATTENTION = {Tone.BAD: 0, Tone.WARN: 1}
_CIRCUITS = {CircuitState.OPEN: "does not answer", CircuitState.HALF_OPEN: "does not answer, being tried"}
_SETTLED = {
    AgentState.RUNNING: DesiredState.RUNNING,
    AgentState.PAUSED: DesiredState.PAUSED,
    AgentState.STOPPED: DesiredState.STOPPED,
}


@dataclass(frozen=True)
class LastExitText:
    """`short` is a few words; `reason` the sentence behind it."""

    short: str
    reason: str
    since: Tick


@dataclass(frozen=True)
class AgentRow:
    """One agent as the fleet list shows it. Absent figures are None."""

    id: str
    name: str
    description: str
    external: bool
    sidecar: bool
    state: str
    tone: Tone
    reason: str | None
    wanted: str | None
    """The desired state, where the actual one is another and nothing is on its way."""
    ready: bool
    instances: Instances | None
    pid: int | None
    port: int | None
    uptime: Tick | None
    restarts: int
    last_exit: LastExitText | None
    in_flight: int
    queued: int
    circuit: str | None
    """In a few words, where no instance answers."""
    heartbeat: Tick | None
    cpu: str | None
    memory: str | None
    draining: int | None
    """Tasks left, while stopping."""
    drain_left: Tick | None
    kill_left: Tick | None
    """Until it has ended, whatever it does."""
    next_start: Tick | None
    figures: Figures
    buttons: tuple[Button, ...]
    actions: str
    """Every action that the state allows, as words: what a selection of rows can be told together."""
    order: str
    """The numbers that rows are sorted by, one for each of `SORTED_BY`; `-` where there is none."""

    @property
    def note_tone(self) -> Tone:
        """A reason beside a state in which all is well tells of a setback: a restart that failed."""
        return Tone.WARN if (self.reason or self.circuit) and self.state in _WELL else self.tone

    @property
    def has_note(self) -> bool:
        """Whether there is anything to say below the figures."""
        return bool(self.reason or self.circuit or self.next_start or self.draining is not None)


@dataclass(frozen=True)
class FleetSummary:
    """The header's answer to "is anything wrong?"."""

    text: str
    tone: Tone
    troubled: int


def agent_row(view: AgentView, now: datetime, figures: Figures = NO_FIGURES) -> AgentRow:
    """The row of one agent at the moment `now`."""
    stopping = view.state is AgentState.STOPPING
    return AgentRow(
        id=view.id,
        name=view.name,
        description=view.description,
        external=not view.managed,
        sidecar=view.sidecar,
        state=view.state.value,
        tone=STATE_TONES[view.state],
        reason=view.state_reason,
        wanted=_wanted(view),
        ready=view.ready,
        instances=instances_of(view, now),
        pid=view.pid,
        port=view.port,
        uptime=age_or_none(view.started_at, now) if view.pid is not None else None,
        restarts=view.restarts,
        last_exit=_last_exit(view.last_exit, now),
        in_flight=view.in_flight,
        queued=view.queued,
        circuit=_CIRCUITS.get(view.circuit),
        heartbeat=age_or_none(view.last_heartbeat_at, now),
        cpu=None if view.cpu_percent is None else percent_text(view.cpu_percent),
        memory=None if view.rss_bytes is None else bytes_text(view.rss_bytes),
        draining=view.in_flight + view.queued if stopping else None,
        drain_left=left_or_none(view.drain_deadline, now) if stopping else None,
        kill_left=left_or_none(view.stop_deadline, now) if stopping else None,
        next_start=left_or_none(view.next_start_at, now) if view.state is AgentState.BACKOFF else None,
        figures=figures,
        buttons=row_buttons(view),
        actions=" ".join(view.actions),
        order=" ".join("-" if number is None else f"{number:.10g}" for number in order_of(view, figures)),
    )


def fleet_summary(views: Sequence[AgentView]) -> FleetSummary:
    """`6 agents: 1 failed, 5 running`: what wants attention first, for where there is no room for all of it."""
    counts = Counter(view.state for view in views)
    states = sorted(states_in_order(), key=lambda state: _ATTENTION.get(STATE_TONES[state], len(_ATTENTION)))
    parts = [f"{counts[state]} {state.value}" for state in states if counts[state]]
    tones = {trouble_of(view) or STATE_TONES[view.state] for view in views}
    return FleetSummary(
        text=f"{count_text(len(views), 'agent')}: {', '.join(parts)}" if views else "No agents",
        tone=next((tone for tone in (Tone.BAD, Tone.WARN, Tone.BUSY, Tone.GOOD) if tone in tones), Tone.IDLE),
        troubled=sum(trouble_of(view) is not None for view in views),
    )


def trouble_of(view: AgentView) -> Tone | None:
    """How much attention this agent wants; None for one that is well, on its way, or stopped on purpose."""
    tone = STATE_TONES[view.state]
    if tone in (Tone.BAD, Tone.WARN):
        return tone
    setback = view.state in _WELL and (view.state_reason or view.circuit is not CircuitState.CLOSED)
    return Tone.WARN if setback else None


def states_in_order() -> list[AgentState]:
    """The states as a person counts them: what runs, then the others in the order of the lifecycle."""
    return [AgentState.RUNNING, *(state for state in AgentState if state is not AgentState.RUNNING)]


def order_of(view: AgentView, figures: Figures) -> tuple[float | None, ...]:
    """The numbers that the agent's row is sorted by, one for each of `SORTED_BY`."""
    heartbeat = view.last_heartbeat_at
    return (
        _URGENCY.index(trouble_of(view) or STATE_TONES[view.state]),
        None if heartbeat is None else int(heartbeat.timestamp()),
        view.pid,
        view.restarts,
        view.in_flight + view.queued,
        figures.p95_ms,
        figures.error_ratio,
        view.cpu_percent,
        view.rss_bytes,
    )


def _wanted(view: AgentView) -> str | None:
    settled = _SETTLED.get(view.state)
    return None if settled is None or settled is view.desired_state else view.desired_state.value


def _last_exit(last: LastExit | None, now: datetime) -> LastExitText | None:
    if last is None:
        return None
    if last.signal is not None:
        short = f"signal {last.signal}"
    else:
        short = "ended" if last.code is None else f"exit {last.code}"
    return LastExitText(short, last.reason, age(last.at, now))
