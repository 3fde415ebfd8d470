"""Who is told of events, and how that goes, as plain texts. Pure functions of webhooks' views and the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from manager.notifications.views import DeliveryView, WebhookView
from web.rendering import Outcome
from web.texts import count_text
from web.ticks import Tick, age, left_or_none
from web.tones import Tone


@dataclass(frozen=True)
class WebhookRow:
    """One webhook. `at` and `error` are of the newest that was tried; `next_attempt` only where something waits."""

    name: str
    url: str
    kinds: tuple[str, ...]
    agents: str
    tone: Tone
    state: str
    at: Tick | None
    error: str | None
    waiting: str | None
    next_attempt: Tick | None


def webhook_row(webhook: WebhookView, now: datetime) -> WebhookRow:
    """What the table says of it."""
    newest = webhook.last_delivery
    tone, state = _verdict(newest)
    return WebhookRow(
        name=webhook.name,
        url=webhook.url,
        kinds=tuple(webhook.kinds),
        agents="all agents and the manager" if webhook.agents is None else ", ".join(webhook.agents),
        tone=tone,
        state=state,
        at=age(newest.finished_at or newest.created_at, now) if newest else None,
        error=newest.error if newest else None,
        waiting=f"{count_text(webhook.pending, 'notification')} waiting" if webhook.pending else None,
        next_attempt=left_or_none(webhook.next_attempt_at, now) if webhook.pending else None,
    )


def outcome_of_test(delivery: DeliveryView) -> Outcome:
    """What became of a test, and what to do where it has not arrived."""
    if delivery.state == "delivered":
        took = "" if delivery.duration_ms is None else f" in {delivery.duration_ms:.0f} ms"
        return Outcome("The test arrived", f"{delivery.webhook} answered {delivery.status}{took}.", refused=False)
    why = delivery.error or "it did not answer."
    return Outcome("The test did not arrive", f"{delivery.webhook}: {why}", refused=True)


def _verdict(newest: DeliveryView | None) -> tuple[Tone, str]:
    if newest is None:
        return Tone.IDLE, "nothing was sent yet"
    if newest.state == "delivered":
        return Tone.GOOD, "delivered"
    return (Tone.WARN, "failed, is tried again") if newest.state == "pending" else (Tone.BAD, "given up")
