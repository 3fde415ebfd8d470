"""Who is told of events, and how that goes, as plain texts. Pure functions of webhooks' views and the time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from agent_service.plurals import count_text
from manager.notifications.message import TEST_TYPE
from manager.notifications.views import DeliveryView, WebhookView
from manager.webhook_settings import WebhookSettings
from web.rendering import Outcome
from web.texts import age_text
from web.ticks import Tick, age_or_none, left_or_none
from web.tones import Tone


@dataclass(frozen=True)
class WebhookRow:
    """One webhook. `type`, `state`, `at` and `error` are of the newest notification that was tried.

    `at` is the time of its last attempt, None while there will be another; `next_attempt` only where something waits.
    `terms`: how it is told, None where the config in force does not know it.
    """

    name: str
    url: str
    kinds: tuple[str, ...]
    agents: str
    terms: str | None
    tone: Tone
    type: str | None
    state: str
    at: Tick | None
    error: str | None
    failures: str | None
    waiting: str | None
    next_attempt: Tick | None


def webhook_row(webhook: WebhookView, now: datetime, settings: WebhookSettings | None = None) -> WebhookRow:
    """What the table says of it; `settings` are its own."""
    newest = webhook.last_delivery
    in_a_row = webhook.consecutive_failures
    tone, state = _verdict(newest)
    return WebhookRow(
        name=webhook.name,
        url=webhook.url,
        kinds=tuple(webhook.kinds),
        agents="all agents and the manager" if webhook.agents is None else ", ".join(webhook.agents),
        terms=_terms(settings) if settings else None,
        tone=tone,
        type=newest.type if newest else None,
        state=state,
        at=age_or_none(newest.finished_at, now) if newest else None,
        error=newest.error if newest else None,
        failures=f"{count_text(in_a_row, 'failure')} in a row" if in_a_row else None,
        waiting=f"{count_text(webhook.pending, 'notification')} waiting" if webhook.pending else None,
        next_attempt=left_or_none(webhook.next_attempt_at, now) if webhook.pending else None,
    )


def newest_test(deliveries: Iterable[DeliveryView]) -> DeliveryView | None:
    """Of the deliveries, newest first, the first that was a test."""
    return next((delivery for delivery in deliveries if delivery.type == TEST_TYPE), None)


def outcome_of_test(delivery: DeliveryView) -> Outcome:
    """What became of a test: it was taken, or refused by whoever answered, or nobody answered."""
    if delivery.state == "delivered":
        took = "" if delivery.duration_ms is None else f" in {delivery.duration_ms:.0f} ms"
        return Outcome("The test arrived", f"{delivery.webhook} answered {delivery.status}{took}.", refused=False)
    what = "did not arrive" if delivery.status is None else "was not taken"
    return Outcome(f"The test {what}", f"{delivery.webhook}: {delivery.error or 'it did not answer.'}", refused=True)


def _terms(settings: WebhookSettings) -> str:
    again = f"tried again for {age_text(settings.give_up_after_seconds)}"
    tries = again if settings.give_up_after_seconds else "tried once"
    return f"signed with {settings.secret}, answers within {settings.timeout_seconds:g} s, {tries}"


def _verdict(newest: DeliveryView | None) -> tuple[Tone, str]:
    if newest is None:
        return Tone.IDLE, "nothing was sent yet"
    if newest.state == "delivered":
        return Tone.GOOD, "delivered"
    if newest.state == "pending":
        return Tone.WARN, "failed, is tried again"
    # A test is tried once: nothing was lost with it.
    return Tone.BAD, "failed" if newest.type == TEST_TYPE else "given up"
