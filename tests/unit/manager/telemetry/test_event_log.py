from __future__ import annotations

from typing import Any

import pytest
import structlog
from pydantic import JsonValue

from manager.events import EventBus, EventKind
from manager.telemetry.event_log import log_events
from tests.unit.manager.telemetry.fleet import FixedClock


def logged(kind: EventKind, **data: JsonValue) -> dict[str, Any]:
    bus = EventBus(FixedClock(), next_id=7)
    log_events(bus)
    with structlog.testing.capture_logs() as lines:
        bus.publish(kind, "A sentence", agent_id="planner", reason="because", **data)  # type: ignore[arg-type]
    (line,) = lines
    return dict(line)


def test_an_event_is_one_line_with_its_facts() -> None:
    assert logged(EventKind.INSTANCE_STARTED, pid=5) == {
        "log_level": "info",
        "event": "A sentence",
        "event_id": 7,
        "kind": "instance_started",
        "agent_id": "planner",
        "reason": "because",
        "data": {"pid": 5},
    }


@pytest.mark.parametrize(
    ("kind", "data", "level"),
    [
        (EventKind.HEARTBEAT_MISSED, {}, "warning"),
        (EventKind.DRAIN_TIMED_OUT, {}, "warning"),
        (EventKind.START_FAILED, {}, "warning"),
        (EventKind.CONFIG_REJECTED, {}, "warning"),
        (EventKind.WEBHOOK_FAILED, {}, "warning"),
        (EventKind.STATE_DIRECTORY_LOST, {}, "error"),
        (EventKind.CONFIG_RELOADED, {}, "info"),
        (EventKind.INSTANCE_EXITED, {"code": None, "signal": 9, "expected": True}, "warning"),
        (EventKind.INSTANCE_EXITED, {"code": 1, "signal": None, "expected": True}, "warning"),
        (EventKind.INSTANCE_EXITED, {"code": 0, "signal": None, "expected": False}, "warning"),
        (EventKind.INSTANCE_EXITED, {"code": 0, "signal": None, "expected": True}, "info"),
        (EventKind.STATE_CHANGED, {"state": "failed", "previous": "starting"}, "warning"),
        (EventKind.STATE_CHANGED, {"state": "running", "previous": "failed"}, "info"),
        (EventKind.HEARTBEAT_RESUMED, {}, "info"),
    ],
)
def test_failures_are_warnings(kind: EventKind, data: dict[str, JsonValue], level: str) -> None:
    assert logged(kind, **data)["log_level"] == level
