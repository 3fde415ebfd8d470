"""What the templates show of the fleet, as plain texts. Pure functions of an `AgentView` and the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from manager.registry.circuit import CircuitState
from manager.supervision.states import AgentAction, AgentState, DesiredState
from manager.supervision.views import AgentView, LastExit
from web.instance_rows import Instances, instances_of
from web.texts import bytes_text, count_text, percent_text
from web.ticks import Tick, age, age_or_none, left_or_none
from web.tones import STATE_TONES, Tone


@dataclass(frozen=True)
class Button:
    """One action that the state allows now."""

    action: str
    label: str
    hint: str


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
    buttons: tuple[Button, ...]
    kill: Button | None

    @property
    def unfinished(self) -> str | None:
        """What a kill would lose, in words."""
        tasks = self.in_flight + self.queued
        return count_text(tasks, "unfinished task") if tasks else None

    @property
    def processes(self) -> int:
        """How many a kill would end."""
        return len(self.instances.rows) if self.instances else 1

    @property
    def note_tone(self) -> Tone:
        """A reason beside a state in which all is well tells of a setback: a restart that failed."""
        return Tone.WARN if (self.reason or self.circuit) and self.state in _WELL else self.tone


@dataclass(frozen=True)
class FleetSummary:
    """The header's answer to "is anything wrong?"."""

    text: str
    tone: Tone
    troubled: int


_WELL = (AgentState.RUNNING, AgentState.PAUSED)

_HINTS = {
    AgentAction.START: "Start a process for this agent.",
    AgentAction.PAUSE: "Refuse new work; work in flight finishes.",
    AgentAction.RESUME: "Take new work again.",
    AgentAction.STOP: "Refuse new work, finish what is in flight, then exit.",
    AgentAction.RESTART: "Replace the process by one that runs the code on disk; work in flight finishes.",
    AgentAction.KILL: "End the process at once; the agent stays stopped.",
}

_STOP_NOW = Button(
    AgentAction.STOP.value, "Stop now", "End the drain at once: tasks that are still in flight are cancelled."
)

_CIRCUITS = {CircuitState.OPEN: "does not answer", CircuitState.HALF_OPEN: "does not answer, being tried"}

_SETTLED = {
    AgentState.RUNNING: DesiredState.RUNNING,
    AgentState.PAUSED: DesiredState.PAUSED,
    AgentState.STOPPED: DesiredState.STOPPED,
}


def action_label(action: AgentAction) -> str:
    """The word on the action's button."""
    return action.value.capitalize()


def agent_row(view: AgentView, now: datetime) -> AgentRow:
    """The row of one agent at the moment `now`."""
    stopping = view.state is AgentState.STOPPING
    return AgentRow(
        id=view.id,
        name=view.name,
        description=view.description,
        external=not view.managed,
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
        buttons=tuple(_button(action, view) for action in view.actions if action is not AgentAction.KILL),
        kill=_button(AgentAction.KILL, view) if AgentAction.KILL in view.actions else None,
    )


def fleet_summary(views: Sequence[AgentView]) -> FleetSummary:
    """`6 agents: 5 running, 1 failed`, the states in the order of their lifecycle."""
    counts = Counter(view.state for view in views)
    parts = [f"{counts[state]} {state.value}" for state in _summary_order() if counts[state]]
    tones = {STATE_TONES[state] for state in counts}
    return FleetSummary(
        text=f"{count_text(len(views), 'agent')}: {', '.join(parts)}" if views else "No agents",
        tone=next((tone for tone in (Tone.BAD, Tone.WARN, Tone.BUSY, Tone.GOOD) if tone in tones), Tone.IDLE),
        troubled=sum(count for state, count in counts.items() if STATE_TONES[state] in (Tone.BAD, Tone.WARN)),
    )


def _summary_order() -> list[AgentState]:
    rest = [state for state in AgentState if state is not AgentState.RUNNING]
    return [AgentState.RUNNING, *rest]


def _wanted(view: AgentView) -> str | None:
    settled = _SETTLED.get(view.state)
    return None if settled is None or settled is view.desired_state else view.desired_state.value


def _button(action: AgentAction, view: AgentView) -> Button:
    # Of a drain that a restart brought about, or in an agent from elsewhere, a stop does not make short work.
    asked_before = view.state is AgentState.STOPPING and view.desired_state is DesiredState.STOPPED
    if action is AgentAction.STOP and asked_before and view.managed:
        return _STOP_NOW
    return Button(action.value, action_label(action), _HINTS[action])


def _last_exit(last: LastExit | None, now: datetime) -> LastExitText | None:
    if last is None:
        return None
    if last.signal is not None:
        short = f"signal {last.signal}"
    else:
        short = "ended" if last.code is None else f"exit {last.code}"
    return LastExitText(short, last.reason, age(last.at, now))
