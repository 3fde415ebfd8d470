from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.web.sources import NOW, delivery, webhook
from web.tones import Tone
from web.webhook_rows import outcome_of_test, webhook_row


@pytest.mark.parametrize(
    ("newest", "tone", "state"),
    [
        (None, Tone.IDLE, "nothing was sent yet"),
        (delivery(), Tone.GOOD, "delivered"),
        (delivery(state="pending", finished_at=None), Tone.WARN, "failed, is tried again"),
        (delivery(state="given_up"), Tone.BAD, "given up"),
    ],
)
def test_the_newest_notification_says_how_it_goes(newest: object, tone: Tone, state: str) -> None:
    row = webhook_row(webhook(last_delivery=newest), NOW)
    assert (row.tone, row.state) == (tone, state)
    assert (row.at is None) == (newest is None)


def test_what_waits_and_until_when_is_told() -> None:
    row = webhook_row(webhook(pending=2, next_attempt_at=NOW + timedelta(seconds=30)), NOW)
    assert row.waiting == "2 notifications waiting"
    assert row.next_attempt is not None and row.next_attempt.text == "30 s"
    assert webhook_row(webhook(), NOW).next_attempt is None


def test_of_which_agents_it_is_told() -> None:
    assert webhook_row(webhook(), NOW).agents == "all agents and the manager"
    assert webhook_row(webhook(agents=["a", "b"]), NOW).agents == "a, b"


def test_a_test_that_did_not_arrive_is_told_with_the_reason() -> None:
    lost = outcome_of_test(delivery(state="given_up", error="It did not answer within 10 s.", status=None))
    assert lost.refused and lost.detail == "oncall: It did not answer within 10 s."
    arrived = outcome_of_test(delivery())
    assert not arrived.refused and arrived.detail == "oncall answered 204 in 12 ms."
