from __future__ import annotations

from datetime import timedelta

import pytest

from manager.webhook_settings import WebhookSettings
from tests.unit.web.sources import NOW, delivery, webhook
from web.tones import Tone
from web.webhook_rows import newest_test, outcome_of_test, webhook_row


@pytest.mark.parametrize(
    ("newest", "tone", "state"),
    [
        (None, Tone.IDLE, "nothing was sent yet"),
        (delivery(), Tone.GOOD, "delivered"),
        (delivery(state="pending", finished_at=None), Tone.WARN, "failed, is tried again"),
        (delivery(state="given_up"), Tone.BAD, "given up"),
        (delivery(state="given_up", type="webhook.test"), Tone.BAD, "failed"),
    ],
)
def test_the_newest_notification_says_how_it_goes(newest: object, tone: Tone, state: str) -> None:
    row = webhook_row(webhook(last_delivery=newest), NOW)
    assert (row.tone, row.state) == (tone, state)


def test_the_newest_notification_says_what_it_told_of_and_when_it_was_tried_last() -> None:
    row = webhook_row(webhook(last_delivery=delivery(created_at=NOW - timedelta(hours=2), type="agent.lost")), NOW)
    assert row.type == "agent.lost" and row.at is not None and row.at.text == "1 min"
    waiting = webhook_row(webhook(last_delivery=delivery(state="pending", finished_at=None)), NOW)
    assert waiting.at is None
    unused = webhook_row(webhook(), NOW)
    assert (unused.type, unused.at) == (None, None)


def test_failures_in_a_row_are_counted() -> None:
    assert webhook_row(webhook(consecutive_failures=3), NOW).failures == "3 failures in a row"
    assert webhook_row(webhook(), NOW).failures is None


def test_what_waits_and_until_when_is_told() -> None:
    row = webhook_row(webhook(pending=2, next_attempt_at=NOW + timedelta(seconds=30)), NOW)
    assert row.waiting == "2 notifications waiting"
    assert row.next_attempt is not None and row.next_attempt.text == "30 s"
    assert webhook_row(webhook(), NOW).next_attempt is None


def test_of_which_agents_it_is_told() -> None:
    assert webhook_row(webhook(), NOW).agents == "all agents and the manager"
    assert webhook_row(webhook(agents=["a", "b"]), NOW).agents == "a, b"


def test_how_it_is_told_is_as_the_config_says() -> None:
    settings = WebhookSettings(name="oncall", url="env:ONCALL_URL", secret="env:ONCALL_SECRET")
    told = webhook_row(webhook(), NOW, settings).terms
    assert told == "signed with env:ONCALL_SECRET, answers within 10 s, tried again for 1 d 0 h"
    once = settings.model_copy(update={"timeout_seconds": 0.5, "give_up_after_seconds": 0.0})
    assert str(webhook_row(webhook(), NOW, once).terms).endswith("answers within 0.5 s, tried once")
    assert webhook_row(webhook(), NOW).terms is None


def test_a_test_that_did_not_arrive_is_told_with_the_reason() -> None:
    lost = outcome_of_test(delivery(state="given_up", error="It did not answer within 10 s.", status=None))
    assert lost.refused and lost.title == "The test did not arrive"
    assert lost.detail == "oncall: It did not answer within 10 s."
    arrived = outcome_of_test(delivery())
    assert not arrived.refused and arrived.detail == "oncall answered 204 in 12 ms."


def test_a_test_that_was_answered_and_refused_has_arrived() -> None:
    refused = outcome_of_test(delivery(state="given_up", error="It answered 403 Forbidden.", status=403))
    assert refused.refused and refused.title == "The test was not taken"


def test_the_newest_test_is_told_from_notifications_of_events() -> None:
    older = delivery(id="msg_0", type="webhook.test")
    assert newest_test([delivery(), delivery(id="msg_2", type="webhook.test"), older]).id == "msg_2"
    assert newest_test([delivery()]) is None
