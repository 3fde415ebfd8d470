"""The history's lines as plain texts. Pure functions of events and the time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from manager.events import Event, EventKind
from manager.supervision.states import AgentState
from web.setting_rows import SettingRow, value_text
from web.ticks import Tick, age
from web.tones import STATE_TONES, Tone


@dataclass(frozen=True)
class EventRow:
    """One line of the history; `facts` is what the sentence leaves out."""

    id: int
    age: Tick
    agent_id: str | None
    kind: str
    message: str
    by: str | None
    tone: Tone
    facts: tuple[SettingRow, ...]


_TONES = {
    EventKind.INSTANCE_REGISTERED: Tone.GOOD,
    EventKind.HEARTBEAT_RESUMED: Tone.GOOD,
    EventKind.CIRCUIT_CLOSED: Tone.GOOD,
    EventKind.RESTART_SCHEDULED: Tone.WARN,
    EventKind.HEARTBEAT_MISSED: Tone.WARN,
    EventKind.CIRCUIT_OPENED: Tone.WARN,
    EventKind.DRAIN_TIMED_OUT: Tone.WARN,
    EventKind.ROLLOUT_FAILED: Tone.WARN,
    EventKind.CONFIG_REJECTED: Tone.WARN,
    EventKind.DEFINITION_REFUSED: Tone.WARN,
    EventKind.WEBHOOK_FAILED: Tone.WARN,
    EventKind.START_FAILED: Tone.BAD,
    EventKind.STATE_DIRECTORY_LOST: Tone.BAD,
}


def event_rows(events: Iterable[Event], now: datetime) -> list[EventRow]:
    """The history's lines, in the order of `events`."""
    return [
        EventRow(
            id=event.id,
            age=age(event.at, now),
            agent_id=event.agent_id,
            kind=event.kind.value.replace("_", " "),
            message=event.message,
            by=_by(event),
            tone=_tone(event),
            facts=tuple(_facts(event)),
        )
        for event in events
    ]


def _tone(event: Event) -> Tone:
    state = event.data.get("state") if event.kind is EventKind.STATE_CHANGED else None
    if isinstance(state, str) and state in [*AgentState]:
        return STATE_TONES[AgentState(state)]
    return _TONES.get(event.kind, Tone.IDLE)


def _by(event: Event) -> str | None:
    """Who and why, as far as the message does not say it already."""
    actor = f"by {event.actor}" if event.actor and event.actor not in event.message else ""
    reason = event.reason if event.reason and event.reason not in event.message else ""
    return ": ".join(part for part in (actor, reason) if part) or None


def _facts(event: Event) -> Iterable[SettingRow]:
    told = {"kind": event.kind.value, "id": event.id, "instance_id": event.instance_id, "actor": event.actor}
    for key, value in {**told, "reason": event.reason, **event.data}.items():
        if value is not None:
            yield SettingRow(key, value_text(value), "")
