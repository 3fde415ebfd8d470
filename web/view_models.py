"""What the templates show of the fleet, as plain texts. Pure functions of an `AgentView` and the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agent_service.contract import rfc3339
from manager.events import Event, EventKind
from manager.supervision.states import AgentAction, AgentState, DesiredState
from manager.supervision.views import AgentView, LastExit
from web.texts import age_text, bytes_text, count_text, left_text, percent_text


class Tone(StrEnum):
    """How much of a person's attention something wants; the style sheet gives each its colour."""

    GOOD = "good"
    BUSY = "busy"
    IDLE = "idle"
    WARN = "warn"
    BAD = "bad"


class TickKind(StrEnum):
    """Whether a moment's text counts up (`age`) or down (`left`)."""

    AGE = "age"
    LEFT = "left"


@dataclass(frozen=True)
class Tick:
    """A moment whose text the browser keeps current; `text` is what it says now."""

    kind: TickKind
    at: str
    text: str


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
    pid: int | None
    port: int | None
    uptime: Tick | None
    restarts: int
    last_exit: LastExitText | None
    in_flight: int
    queued: int
    heartbeat: Tick | None
    cpu: str | None
    memory: str | None
    draining: int | None
    """Tasks left, while stopping."""
    drain_left: Tick | None
    next_start: Tick | None
    buttons: tuple[Button, ...]
    kill: Button | None

    @property
    def unfinished(self) -> str | None:
        """What a kill would lose, in words."""
        tasks = self.in_flight + self.queued
        return count_text(tasks, "unfinished task") if tasks else None


@dataclass(frozen=True)
class FleetSummary:
    """The header's answer to "is anything wrong?"."""

    text: str
    tone: Tone
    troubled: int


@dataclass(frozen=True)
class EventRow:
    """One line of the history."""

    id: int
    age: Tick
    agent_id: str | None
    message: str
    by: str | None
    tone: Tone


_TONES = {
    AgentState.STARTING: Tone.BUSY,
    AgentState.RUNNING: Tone.GOOD,
    AgentState.PAUSED: Tone.IDLE,
    AgentState.STOPPING: Tone.BUSY,
    AgentState.STOPPED: Tone.IDLE,
    AgentState.BACKOFF: Tone.WARN,
    AgentState.FAILED: Tone.BAD,
    AgentState.UNRESPONSIVE: Tone.BAD,
    AgentState.LOST: Tone.BAD,
}

_HINTS = {
    AgentAction.START: "Start a process for this agent.",
    AgentAction.PAUSE: "Refuse new work; work in flight finishes.",
    AgentAction.RESUME: "Take new work again.",
    AgentAction.STOP: "Refuse new work, finish what is in flight, then exit.",
    AgentAction.RESTART: "Drain, then start a new process that runs the code on disk.",
    AgentAction.KILL: "End the process at once.",
}

_EVENT_TONES = {
    EventKind.INSTANCE_REGISTERED: Tone.GOOD,
    EventKind.HEARTBEAT_RESUMED: Tone.GOOD,
    EventKind.RESTART_SCHEDULED: Tone.WARN,
    EventKind.HEARTBEAT_MISSED: Tone.WARN,
    EventKind.DRAIN_TIMED_OUT: Tone.WARN,
    EventKind.START_FAILED: Tone.BAD,
    EventKind.CONFIG_REJECTED: Tone.WARN,
}

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
        tone=_TONES[view.state],
        reason=view.state_reason,
        wanted=_wanted(view),
        ready=view.ready,
        pid=view.pid,
        port=view.port,
        uptime=_age(view.started_at, now) if view.pid is not None else None,
        restarts=view.restarts,
        last_exit=_last_exit(view.last_exit, now),
        in_flight=view.in_flight,
        queued=view.queued,
        heartbeat=_age(view.last_heartbeat_at, now),
        cpu=None if view.cpu_percent is None else percent_text(view.cpu_percent),
        memory=None if view.rss_bytes is None else bytes_text(view.rss_bytes),
        draining=view.in_flight + view.queued if stopping else None,
        drain_left=_left(view.drain_deadline, now) if stopping else None,
        next_start=_left(view.next_start_at, now) if view.state is AgentState.BACKOFF else None,
        buttons=tuple(_button(action) for action in view.actions if action is not AgentAction.KILL),
        kill=_button(AgentAction.KILL) if AgentAction.KILL in view.actions else None,
    )


def fleet_summary(views: Sequence[AgentView]) -> FleetSummary:
    """`6 agents: 5 running, 1 failed`, the states in the order of their lifecycle."""
    counts = Counter(view.state for view in views)
    parts = [f"{counts[state]} {state.value}" for state in _summary_order() if counts[state]]
    tones = {_TONES[state] for state in counts}
    return FleetSummary(
        text=f"{count_text(len(views), 'agent')}: {', '.join(parts)}" if views else "No agents",
        tone=next((tone for tone in (Tone.BAD, Tone.WARN, Tone.BUSY, Tone.GOOD) if tone in tones), Tone.IDLE),
        troubled=sum(count for state, count in counts.items() if _TONES[state] in (Tone.BAD, Tone.WARN)),
    )


def event_rows(events: Iterable[Event], now: datetime) -> list[EventRow]:
    """The history's lines, in the order of `events`."""
    return [
        EventRow(
            id=event.id,
            age=_tick(TickKind.AGE, event.at, now),
            agent_id=event.agent_id,
            message=event.message,
            by=_by(event),
            tone=_event_tone(event),
        )
        for event in events
    ]


def _summary_order() -> list[AgentState]:
    rest = [state for state in AgentState if state is not AgentState.RUNNING]
    return [AgentState.RUNNING, *rest]


def _event_tone(event: Event) -> Tone:
    state = event.data.get("state") if event.kind is EventKind.STATE_CHANGED else None
    if isinstance(state, str) and state in [*AgentState]:
        return _TONES[AgentState(state)]
    return _EVENT_TONES.get(event.kind, Tone.IDLE)


def _by(event: Event) -> str | None:
    """Who and why, as far as the message does not say it already."""
    actor = f"by {event.actor}" if event.actor and event.actor not in event.message else ""
    reason = event.reason if event.reason and event.reason not in event.message else ""
    return ": ".join(part for part in (actor, reason) if part) or None


def _wanted(view: AgentView) -> str | None:
    settled = _SETTLED.get(view.state)
    return None if settled is None or settled is view.desired_state else view.desired_state.value


def _button(action: AgentAction) -> Button:
    return Button(action.value, action_label(action), _HINTS[action])


def _last_exit(last: LastExit | None, now: datetime) -> LastExitText | None:
    if last is None:
        return None
    if last.signal is not None:
        short = f"signal {last.signal}"
    else:
        short = "ended" if last.code is None else f"exit {last.code}"
    return LastExitText(short, last.reason, _tick(TickKind.AGE, last.at, now))


def _age(moment: datetime | None, now: datetime) -> Tick | None:
    return None if moment is None else _tick(TickKind.AGE, moment, now)


def _left(moment: datetime | None, now: datetime) -> Tick | None:
    return None if moment is None else _tick(TickKind.LEFT, moment, now)


def _tick(kind: TickKind, moment: datetime, now: datetime) -> Tick:
    if kind is TickKind.AGE:
        return Tick(kind, rfc3339(moment), age_text((now - moment).total_seconds()))
    return Tick(kind, rfc3339(moment), left_text((moment - now).total_seconds()))
