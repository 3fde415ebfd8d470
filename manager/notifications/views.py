"""Webhooks and deliveries as API, command line and dashboard show them; nothing of them is a secret."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from agent_service.contract import Timestamp
from manager.store.deliveries import Delivery


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class DeliveryView(_View):
    """One notification to one webhook; of a test `event_id` is null. `id` is what the receiver knows as `webhook-id`.

    `status` (of HTTP), `error` (a sentence) and `duration_ms` are those of the newest attempt.
    """

    id: str
    webhook: str
    event_id: int | None
    type: str
    state: Literal["pending", "delivered", "given_up"]
    created_at: Timestamp
    attempts: int
    next_attempt_at: Timestamp | None
    finished_at: Timestamp | None
    status: int | None
    error: str | None
    duration_ms: float | None


class WebhookView(_View):
    """One webhook. `url`: a reference as such, never what it leads to. `agents`: null for all, and for the manager.

    `consecutive_failures`: of attempts, since the manager's start. `last_delivery`: the newest that was tried.
    """

    name: str
    url: str
    kinds: list[str]
    agents: list[str] | None
    pending: int
    consecutive_failures: int
    next_attempt_at: Timestamp | None
    last_delivery: DeliveryView | None
    last_delivered_at: Timestamp | None


def delivery_view(delivery: Delivery) -> DeliveryView:
    """The delivery but for its body."""
    return DeliveryView.model_validate({name: getattr(delivery, name) for name in DeliveryView.model_fields})
