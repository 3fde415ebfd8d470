from __future__ import annotations

from datetime import timedelta

import pytest

from manager.events import Event, EventKind
from tests.unit.web.fakes import NOW
from web.event_rows import event_rows
from web.tones import Tone


def test_an_event_does_not_tell_twice_who_did_it() -> None:
    event = Event(7, NOW, EventKind.DESIRED_CHANGED, "dashboard asked echo to stop", actor="dashboard", reason="night")
    assert [row.by for row in event_rows([event], NOW)] == ["night"]


def test_an_event_tells_who_did_it_and_why() -> None:
    event = Event(7, NOW, EventKind.DESIRED_CHANGED, "echo is to be paused", "echo", actor="dashboard", reason="night")
    [row] = event_rows([event], NOW + timedelta(minutes=2))
    assert (row.id, row.agent_id, row.age.text, row.by) == (7, "echo", "2 min", "by dashboard: night")


@pytest.mark.parametrize(
    ("kind", "data", "tone"),
    [
        (EventKind.STATE_CHANGED, {"state": "failed"}, Tone.BAD),
        (EventKind.STATE_CHANGED, {"state": "running"}, Tone.GOOD),
        (EventKind.STATE_CHANGED, {"state": ["odd"]}, Tone.IDLE),
        (EventKind.START_FAILED, {}, Tone.BAD),
        (EventKind.ROLLOUT_FAILED, {}, Tone.WARN),
        (EventKind.CONFIG_REJECTED, {}, Tone.WARN),
        (EventKind.CONFIG_RELOADED, {}, Tone.IDLE),
        (EventKind.MANAGER_STARTED, {}, Tone.IDLE),
    ],
)
def test_an_event_has_the_tone_of_what_it_tells(kind: EventKind, data: dict[str, object], tone: Tone) -> None:
    [row] = event_rows([Event(1, NOW, kind, "It happened.", data=data)], NOW)
    assert row.tone is tone
