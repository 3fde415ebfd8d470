"""What a notification says: an event, under a type that receivers can choose by."""

from __future__ import annotations

import json
import secrets
from datetime import datetime

from pydantic import JsonValue

from agent_service.contract import rfc3339
from manager.events import Event
from manager.store.deliveries import Delivery

TEST_TYPE = "webhook.test"


def notification(event: Event, webhook: str, now: datetime) -> Delivery:
    """The event as a notification to `webhook` that is due now."""
    return _delivery(webhook, event.id, type_of(event), event.at, event.to_wire(), now)


def test_notification(webhook: str, now: datetime) -> Delivery:
    """One that tells nothing but that notifications arrive."""
    data: dict[str, JsonValue] = {
        "webhook": webhook,
        "message": f"A test: notifications of the webhook {webhook} arrive here",
    }
    return _delivery(webhook, None, TEST_TYPE, now, data, now)


def type_of(event: Event) -> str:
    """`agent.failed` for a change of state, else the kind: `agent.instance_exited`, `manager.config_rejected`."""
    return f"{'agent' if event.agent_id else 'manager'}.{event.topic}"


def _delivery(
    webhook: str, event_id: int | None, kind: str, at: datetime, data: dict[str, JsonValue], now: datetime
) -> Delivery:
    body = json.dumps({"type": kind, "timestamp": rfc3339(at), "data": data}, ensure_ascii=False, separators=(",", ":"))
    return Delivery(
        id=f"msg_{secrets.token_hex(12)}",
        webhook=webhook,
        event_id=event_id,
        type=kind,
        body=body,
        created_at=rfc3339(now),
        next_attempt_at=rfc3339(now),
    )
