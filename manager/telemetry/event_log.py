"""Lifecycle events as log lines."""

from __future__ import annotations

import structlog

from manager.events import Event, EventBus, EventKind

log = structlog.get_logger(__name__)

_FAILURES = frozenset(
    {
        EventKind.HEARTBEAT_MISSED,
        EventKind.DRAIN_TIMED_OUT,
        EventKind.START_FAILED,
        EventKind.CONFIG_REJECTED,
        EventKind.WEBHOOK_FAILED,
    }
)


def log_events(bus: EventBus) -> None:
    """Write each event of `bus` as one line from now on: failures as warnings, all else as information."""
    bus.listen(_write)


def _write(event: Event) -> None:
    told = {name: value for name, value in event.to_wire().items() if value not in (None, {})}
    del told["message"], told["at"]
    told["event_id"] = told.pop("id")
    if event.kind is EventKind.STATE_DIRECTORY_LOST:
        log.error(event.message, **told)
    else:
        (log.warning if _is_failure(event) else log.info)(event.message, **told)


def _is_failure(event: Event) -> bool:
    match event.kind:
        case EventKind.INSTANCE_EXITED:
            return event.data.get("code") != 0 or event.data.get("expected") is False
        case EventKind.STATE_CHANGED:
            return event.data.get("state") == "failed"
        case kind:
            return kind in _FAILURES
