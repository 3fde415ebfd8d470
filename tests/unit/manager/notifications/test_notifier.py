from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from agent_service.contract import rfc3339
from manager.errors import UnknownWebhook
from manager.events import Event, EventKind
from manager.notifications.courier import PENDING_LIMIT
from manager.notifications.notifier import RETENTION
from manager.notifications.sender import Attempt
from manager.store.deliveries import DeliveryState
from tests.unit.manager.fakes.clock import START, until
from tests.unit.manager.notifications.receiver import FakeTable, Sent, World, notify, webhook


def failed(number: int, agent_id: str | None = "echo") -> Event:
    return Event(number, START, EventKind.STATE_CHANGED, "echo has failed", agent_id, data={"state": "failed"})


def running(number: int) -> Event:
    return Event(number, START, EventKind.STATE_CHANGED, "echo is running", "echo", data={"state": "running"})


def test_what_a_webhook_asked_for_is_told_once_and_nothing_else() -> None:
    async def scenario(world: World) -> None:
        await world.happen(running(1), failed(2), Event(3, START, EventKind.START_FAILED, "no", "echo"), failed(4))
        await asyncio.sleep(10_000)
        assert world.told() == [2, 4]

    notify(scenario)


def test_each_webhook_has_its_kinds_and_agents() -> None:
    async def scenario(world: World) -> None:
        rejected = Event(4, START, EventKind.CONFIG_REJECTED, "wrong")
        await world.happen(running(1), failed(2), failed(3, "planner"), rejected)
        await asyncio.sleep(10)
        assert world.told("all") == [1, 2, 3]
        assert world.told("one") == [3]
        assert world.told("manager") == [4]

    notify(
        scenario,
        webhook("all", kinds=["state_changed"]),
        webhook("one", agents=["planner"], kinds=["failed", "config_rejected"]),
        webhook("manager", kinds=["config_rejected"]),
    )


def test_the_body_is_the_event_under_a_type() -> None:
    async def scenario(world: World) -> None:
        (delivery,) = await world.happen(failed(2))
        assert json.loads(delivery.body) == {
            "type": "agent.failed",
            "timestamp": rfc3339(START),
            "data": failed(2).to_wire(),
        }

    notify(scenario)


def test_a_failed_attempt_is_repeated_with_growing_waits_under_the_same_id() -> None:
    async def scenario(world: World) -> None:
        world.sender.answer = world.sender.refuse
        (delivery,) = await world.happen(failed(1))
        await until(lambda: len(world.sender.sent) == 6)
        times = [sent.at for sent in world.sender.sent]
        waits = [round(later - earlier) for earlier, later in pairwise(times)]
        assert waits == [1, 2, 4, 8, 16]
        assert {(sent.delivery.id, sent.delivery.body) for sent in world.sender.sent} == {(delivery.id, delivery.body)}
        world.sender.answer = world.sender.take
        await asyncio.sleep(100)
        row = world.table.rows[delivery.id]
        assert (row.state, row.attempts, row.status, row.error) == ("delivered", 7, 204, None)
        assert len(world.sender.sent) == 7

    notify(scenario)


def test_while_the_receiver_is_away_it_is_asked_by_one_notification_and_finds_them_in_order_later() -> None:
    async def scenario(world: World) -> None:
        world.sender.answer = world.sender.refuse
        await world.happen(failed(1))
        await asyncio.sleep(1.5)
        await world.happen(failed(2), failed(3))
        await asyncio.sleep(60)
        assert set(world.told()) == {1}
        world.sender.answer = world.sender.take
        await asyncio.sleep(100)
        assert world.told()[-3:] == [1, 2, 3]

    notify(scenario)


def test_a_notification_that_alone_is_refused_is_passed_by_the_others() -> None:
    async def scenario(world: World) -> None:
        async def picky(sent: Sent) -> Attempt:
            refuses = sent.delivery.event_id == 1
            return Attempt(1.0, 400, "It answered 400 Bad Request.") if refuses else Attempt(1.0, 200)

        world.sender.answer = picky
        await world.happen(failed(1))
        await asyncio.sleep(20)
        await world.happen(failed(2), failed(3))
        await asyncio.sleep(20)
        assert {2, 3} <= set(world.told())
        assert world.told().count(1) > 3

    notify(scenario)


def test_a_webhook_that_hangs_delays_no_other() -> None:
    async def scenario(world: World) -> None:
        async def hang(sent: Sent) -> Attempt:
            if sent.webhook.name == "slow":
                await asyncio.sleep(9)
            return Attempt(1.0, 200)

        world.sender.answer = hang
        await world.happen(failed(1), failed(2))
        await asyncio.sleep(1)
        assert (world.told("fast"), world.told("slow")) == ([1, 2], [1])
        await asyncio.sleep(20)
        assert world.told("slow") == [1, 2]

    notify(scenario, webhook("fast"), webhook("slow"))


def test_retry_after_is_obeyed_up_to_the_longest_wait() -> None:
    async def scenario(world: World) -> None:
        async def busy(sent: Sent) -> Attempt:
            return Attempt(1.0, 429, "It answered 429 Too Many Requests.", retry_after_seconds=999_999)

        world.sender.answer = busy
        await world.happen(failed(1))
        await until(lambda: len(world.sender.sent) == 2)
        assert round(world.sender.sent[1].at - world.sender.sent[0].at) == 900

    notify(scenario)


def test_after_its_time_a_notification_is_given_up_and_said_to_be() -> None:
    async def scenario(world: World) -> None:
        world.sender.answer = world.sender.refuse
        (delivery,) = await world.happen(failed(1))
        await asyncio.sleep(1000)
        row = world.table.rows[delivery.id]
        assert (row.state, row.next_attempt_at, row.body) == ("given_up", None, "")
        (event,) = world.events
        assert event.kind is EventKind.WEBHOOK_FAILED
        assert event.data == {"webhook": "oncall", "given_up": 1, "error": "It answered 500 Internal Server Error."}
        assert world.metric("manager_webhook_given_up_total", webhook="oncall") == 1
        assert world.metric("manager_webhook_attempts_total", webhook="oncall", outcome="failed") == row.attempts

    notify(scenario, webhook(giveUpAfterSeconds=60))


def test_a_receiver_that_is_gone_for_good_is_asked_once() -> None:
    async def scenario(world: World) -> None:
        async def gone(sent: Sent) -> Attempt:
            return Attempt(1.0, 410, "It answered 410 Gone.")

        world.sender.answer = gone
        await world.happen(failed(1))
        await asyncio.sleep(10_000)
        assert world.told() == [1]
        assert [event.kind for event in world.events] == [EventKind.WEBHOOK_FAILED]

    notify(scenario)


def test_so_many_wait_at_most_and_the_newest_stay() -> None:
    async def scenario(world: World) -> None:
        world.sender.answer = world.sender.refuse
        await world.happen(*(failed(number) for number in range(1, PENDING_LIMIT + 4)))
        await asyncio.sleep(1)
        kept = [row.event_id for row in world.table.of("oncall") if row.state == DeliveryState.PENDING]
        assert kept == list(range(4, PENDING_LIMIT + 4))
        assert [event.data["given_up"] for event in world.events] == [3]
        assert world.metric("manager_webhook_pending", webhook="oncall") == PENDING_LIMIT

    notify(scenario)


def test_what_an_earlier_manager_left_is_delivered_under_its_id() -> None:
    left = []

    def leave(world: World) -> None:
        left.extend(world.notifier.of([failed(1)]))
        world.table.rows[left[0].id] = replace(left[0], attempts=3)

    async def scenario(world: World) -> None:
        await asyncio.sleep(1)
        assert [sent.delivery.id for sent in world.sender.sent] == [left[0].id]
        assert world.table.rows[left[0].id].attempts == 4

    notify(scenario, prepare=leave)


def test_the_next_manager_keeps_the_order_while_the_receiver_is_away() -> None:
    table = FakeTable()

    async def before(world: World) -> None:
        world.sender.answer = world.sender.refuse
        await world.happen(failed(1))
        await asyncio.sleep(100)
        await world.happen(failed(2))

    async def after(world: World) -> None:
        world.sender.answer = world.sender.refuse
        await world.happen(failed(3))
        await asyncio.sleep(200)
        assert set(world.told()) == {1}
        world.sender.answer = world.sender.take
        await until(lambda: len(set(world.told())) == 3, within=1000)
        assert world.told()[-3:] == [1, 2, 3]

    notify(before, table=table)
    notify(after, table=table)


def test_the_next_manager_lets_the_others_pass_what_alone_is_refused() -> None:
    table = FakeTable()

    async def before(world: World) -> None:
        async def refuse(sent: Sent) -> Attempt:
            return Attempt(1.0, 400, "It answered 400 Bad Request.")

        world.sender.answer = refuse
        await world.happen(failed(1))
        await asyncio.sleep(100)

    async def after(world: World) -> None:
        await world.happen(failed(2))
        await asyncio.sleep(0.1)
        assert world.told() == [2]
        await asyncio.sleep(200)
        assert world.told() == [2, 1]

    notify(before, table=table)
    notify(after, table=table)


def test_what_was_taken_is_not_sent_again_because_the_disk_is_full() -> None:
    async def scenario(world: World) -> None:
        async def fill_the_disk(sent: Sent) -> Attempt:
            world.table.refusing = True
            return Attempt(1.0, 204)

        world.sender.answer = fill_the_disk
        (delivery,) = await world.happen(failed(1))
        await asyncio.sleep(60)
        assert world.table.rows[delivery.id].state == DeliveryState.PENDING
        world.table.refusing = False
        await asyncio.sleep(10)
        assert world.table.rows[delivery.id].state == DeliveryState.DELIVERED
        assert world.told() == [1]

    notify(scenario)


async def slow(sent: Sent) -> Attempt:
    await asyncio.sleep(1.5)
    return Attempt(1.0, 204)


def test_what_is_taken_while_the_manager_ends_is_not_sent_again_and_nothing_more_is_begun() -> None:
    table = FakeTable()

    async def before(world: World) -> None:
        world.sender.answer = slow
        await world.happen(failed(1), failed(2))
        await asyncio.sleep(0.1)
        await world.notifier.close()
        assert world.told() == [1]

    async def after(world: World) -> None:
        await asyncio.sleep(10)
        assert world.told() == [2]

    notify(before, table=table)
    notify(after, table=table)


def test_the_end_does_not_wait_long_for_a_receiver_that_hangs() -> None:
    async def scenario(world: World) -> None:
        async def hang(sent: Sent) -> Attempt:
            await asyncio.sleep(3600)
            return Attempt(1.0, 204)

        world.sender.answer = hang
        (delivery,) = await world.happen(failed(1))
        await asyncio.sleep(0.1)
        began = world.clock.monotonic()
        await world.notifier.close()
        assert world.clock.monotonic() - began < 5
        assert world.table.rows[delivery.id].state == DeliveryState.PENDING

    notify(scenario)


def test_a_webhook_that_is_taken_out_and_put_back_meanwhile_is_told_once() -> None:
    async def scenario(world: World) -> None:
        world.sender.answer = slow
        await world.happen(failed(1), failed(2))
        await asyncio.sleep(0.1)
        for webhooks in ([], [webhook()], [], [webhook()]):
            world.notifier.apply(webhooks)
        await asyncio.sleep(10)
        assert world.told() == [1, 2]

    notify(scenario)


@pytest.mark.parametrize("attempts", [0, 3])
def test_a_clock_that_was_set_back_delays_nothing_for_long(attempts: int) -> None:
    def leave(world: World) -> None:
        (delivery,) = world.notifier.of([failed(1)])
        later = rfc3339(START + timedelta(days=2))
        world.table.rows["x"] = replace(delivery, id="x", attempts=attempts, next_attempt_at=later)

    async def scenario(world: World) -> None:
        await asyncio.sleep(1)
        assert world.told() == [1]

    notify(scenario, prepare=leave)


def test_a_test_is_sent_once_and_its_outcome_is_the_answer() -> None:
    async def scenario(world: World) -> None:
        taken = await world.notifier.test("oncall")
        assert (taken.state, taken.type, taken.event_id, taken.status) == ("delivered", "webhook.test", None, 204)
        world.sender.answer = world.sender.refuse
        refused = await world.notifier.test("oncall")
        assert (refused.state, refused.error) == ("given_up", "It answered 500 Internal Server Error.")
        await asyncio.sleep(10_000)
        assert len(world.sender.sent) == 2
        assert world.events == []
        assert [view.id for view in await world.notifier.deliveries("oncall")] == [refused.id, taken.id]

    notify(scenario)


@pytest.mark.parametrize("by", ["test", "reload"])
def test_a_test_that_arrives_or_a_reload_tries_at_once_what_waits(by: str) -> None:
    async def scenario(world: World) -> None:
        world.sender.answer = world.sender.refuse
        await world.happen(failed(1))
        await asyncio.sleep(300)
        world.sender.answer = world.sender.take
        if by == "test":
            await world.notifier.test("oncall")
        else:
            world.notifier.apply([webhook()])
        await asyncio.sleep(0.1)
        assert [row.state for row in world.table.of("oncall")] == ["delivered"] * len(world.table.rows)

    notify(scenario)


def test_a_test_that_fails_hurries_nothing() -> None:
    async def scenario(world: World) -> None:
        world.sender.answer = world.sender.refuse
        await world.happen(failed(1))
        await asyncio.sleep(300)
        before = len(world.sender.sent)
        await world.notifier.test("oncall")
        await asyncio.sleep(1)
        assert len(world.sender.sent) == before + 1

    notify(scenario)


def test_a_webhook_that_is_not_there_is_told_which_are() -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(UnknownWebhook, match="known: oncall"):
            await world.notifier.test("nobody")
        with pytest.raises(UnknownWebhook):
            await world.notifier.deliveries("nobody")

    notify(scenario)


def test_a_reload_changes_adds_and_removes_webhooks() -> None:
    async def scenario(world: World) -> None:
        world.notifier.apply([webhook("changed", url="https://new.example.com"), webhook("added")])
        await world.happen(failed(1))
        await asyncio.sleep(1)
        assert world.told("removed") == []
        assert world.told("added") == [1]
        (sent,) = [sent for sent in world.sender.sent if sent.webhook.name == "changed"]
        assert sent.webhook.url == "https://new.example.com"
        assert [view.name for view in await world.notifier.views()] == ["changed", "added"]

    notify(scenario, webhook("changed"), webhook("removed"))


def test_what_waited_for_a_webhook_that_was_removed_is_sent_when_it_is_back() -> None:
    async def scenario(world: World) -> None:
        world.sender.answer = world.sender.refuse
        await world.happen(failed(1))
        await asyncio.sleep(1)
        world.notifier.apply([])
        await asyncio.sleep(100)
        count = len(world.sender.sent)
        world.sender.answer = world.sender.take
        world.notifier.apply([webhook()])
        await asyncio.sleep(1)
        assert world.told() == [1] * (count + 1)

    notify(scenario)


def test_a_view_tells_how_a_webhook_does() -> None:
    async def scenario(world: World) -> None:
        await world.happen(failed(1))
        await asyncio.sleep(1)
        (well,) = await world.notifier.views()
        assert (well.pending, well.consecutive_failures, well.next_attempt_at) == (0, 0, None)
        assert well.last_delivery is not None
        assert well.last_delivery.state == "delivered"
        assert well.last_delivered_at == well.last_delivery.finished_at
        assert (well.url, well.agents) == ("https://hooks.example.com/x", None)
        world.sender.answer = world.sender.refuse
        await world.happen(failed(2))
        await asyncio.sleep(0.5)
        await world.happen(failed(3))
        (ill,) = await world.notifier.views()
        assert (ill.pending, ill.consecutive_failures) == (2, 1)
        assert ill.next_attempt_at is not None and ill.next_attempt_at > world.clock.now()
        assert ill.last_delivery is not None
        assert ill.last_delivery.error == "It answered 500 Internal Server Error."
        assert ill.last_delivered_at == well.last_delivered_at

    notify(scenario)


def test_a_streak_of_failures_is_logged_once_and_its_end_too() -> None:
    async def scenario(world: World) -> None:
        world.sender.answer = world.sender.refuse
        await world.happen(failed(1))
        await asyncio.sleep(100)
        world.sender.answer = world.sender.take
        await asyncio.sleep(200)

    with capture_logs() as logs:
        notify(scenario)
    assert [entry["event"] for entry in logs] == [
        "Webhook does not take notifications; they are tried again",
        "Webhook takes notifications again",
    ]


def test_a_disk_that_refuses_is_tried_again() -> None:
    async def scenario(world: World) -> None:
        await asyncio.sleep(1)
        world.table.refusing = True
        await world.happen(failed(1))
        await asyncio.sleep(20)
        world.table.refusing = False
        await asyncio.sleep(10)
        assert world.told() == [1]

    notify(scenario)


def test_old_notifications_are_forgotten_whatever_became_of_them() -> None:
    async def scenario(world: World) -> None:
        world.sender.answer = world.sender.refuse
        await world.happen(failed(1))
        pruning = asyncio.create_task(world.notifier.prune())
        await asyncio.sleep(RETENTION.total_seconds() - 10)
        assert len(world.table.rows) == 1
        await asyncio.sleep(3700)
        assert world.table.rows == {}
        pruning.cancel()
        await asyncio.wait({pruning})

    notify(scenario, webhook(giveUpAfterSeconds=604_800))


def test_closing_closes_the_sender() -> None:
    worlds = []

    async def scenario(world: World) -> None:
        worlds.append(world)

    notify(scenario)
    assert worlds[0].sender.is_closed
