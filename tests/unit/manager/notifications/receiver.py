"""A notifier whose disk, network and clock are the test's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry

from agent_service.contract import rfc3339
from manager.errors import StoreUnavailable
from manager.events import Event, EventBus
from manager.notifications.metrics import WebhookMetrics
from manager.notifications.notifier import Notifier
from manager.notifications.sender import Attempt
from manager.store.deliveries import PRUNE_SLICE, Delivery, DeliveryState
from manager.webhook_settings import WebhookSettings
from tests.unit.manager.fakes.clock import FakeClock, run


class FakeTable:
    """The deliveries in memory, in their order; `refusing` is a full disk."""

    def __init__(self) -> None:
        self.rows: dict[str, Delivery] = {}
        self.refusing = False

    async def add(self, delivery: Delivery) -> None:
        self.rows[delivery.id] = delivery

    async def next(self, webhook: str, now: datetime) -> Delivery | None:
        self._work()
        pending = [row for row in self.of(webhook) if row.state == DeliveryState.PENDING]
        waiting = [row for row in pending if not row.refused or str(row.next_attempt_at) <= rfc3339(now)]
        return next(iter(waiting), None) or min(pending, key=lambda row: str(row.next_attempt_at), default=None)

    async def update(self, delivery: Delivery) -> None:
        self._work()
        self.rows[delivery.id] = delivery

    async def make_due(self, webhook: str, now: datetime) -> None:
        for row in self.of(webhook):
            if row.state == DeliveryState.PENDING:
                self.rows[row.id] = replace(row, next_attempt_at=rfc3339(now))

    async def give_up_oldest(self, webhook: str, *, keep: int, now: datetime, error: str) -> int:
        pending = [row for row in self.of(webhook) if row.state == DeliveryState.PENDING]
        for row in pending[:-keep]:
            self.rows[row.id] = replace(row, state=DeliveryState.GIVEN_UP, error=error)
        return max(0, len(pending) - keep)

    async def newest(self, webhook: str, limit: int) -> list[Delivery]:
        return self.of(webhook)[::-1][:limit]

    async def last_tried(self, webhook: str, *, state: DeliveryState | None = None) -> Delivery | None:
        return next((row for row in self.of(webhook)[::-1] if row.attempts and state in (None, row.state)), None)

    async def waiting(self) -> dict[str, int]:
        return Counter(row.webhook for row in self.rows.values() if row.state == DeliveryState.PENDING)

    async def prune(self, before: datetime) -> int:
        old = [row.id for row in self.rows.values() if row.created_at < rfc3339(before)][:PRUNE_SLICE]
        for name in old:
            del self.rows[name]
        return len(old)

    def of(self, webhook: str) -> list[Delivery]:
        return [row for row in self.rows.values() if row.webhook == webhook]

    def _work(self) -> None:
        if self.refusing:
            raise StoreUnavailable("The disk is full; make room.")


@dataclass(frozen=True)
class Sent:
    """One attempt: to whom, what, and when (virtual seconds)."""

    webhook: WebhookSettings
    delivery: Delivery
    at: float


class FakeSender:
    """Answers each attempt as `answer` says; it is there until the test says otherwise."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.sent: list[Sent] = []
        self.is_closed = False
        self.answer: Callable[[Sent], Awaitable[Attempt]] = self.take

    async def send(self, webhook: WebhookSettings, delivery: Delivery) -> Attempt:
        sent = Sent(webhook, delivery, self._clock.monotonic())
        self.sent.append(sent)
        return await self.answer(sent)

    async def close(self) -> None:
        self.is_closed = True

    async def take(self, sent: Sent) -> Attempt:
        return Attempt(1.0, 204)

    async def refuse(self, sent: Sent) -> Attempt:
        return Attempt(1.0, 500, "It answered 500 Internal Server Error.")


def webhook(name: str = "oncall", **changes: Any) -> WebhookSettings:
    return WebhookSettings.model_validate(
        {"name": name, "url": "https://hooks.example.com/x", "secret": "env:SECRET", **changes}
    )


class World:
    """A started notifier, and what surrounds it. `events`: what it has published."""

    def __init__(self, clock: FakeClock, *webhooks: WebhookSettings, table: FakeTable | None = None) -> None:
        self.clock = clock
        self.table = table or FakeTable()
        self.sender = FakeSender(clock)
        self.registry = CollectorRegistry()
        self.bus = EventBus(clock)
        self.events: list[Event] = []
        self.bus.listen(self.events.append)
        self.notifier = Notifier(
            webhooks or (webhook(),),
            self.table,  # type: ignore[arg-type]
            self.sender,  # type: ignore[arg-type]
            self.bus,
            clock,
            WebhookMetrics(self.registry),
            jitter=lambda: 1.0,
        )

    async def happen(self, *events: Event) -> list[Delivery]:
        """As the history does it: on disk first, then announced."""
        deliveries = self.notifier.of(events)
        for delivery in deliveries:
            await self.table.add(delivery)
        self.notifier.written()
        return deliveries

    def told(self, name: str = "oncall") -> list[int | None]:
        """The events of all attempts for the webhook, in their order."""
        return [sent.delivery.event_id for sent in self.sender.sent if sent.webhook.name == name]

    def metric(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(name, labels)
        assert value is not None
        return value


def notify(
    scenario: Callable[[World], Awaitable[None]],
    *webhooks: WebhookSettings,
    prepare: Callable[[World], None] = lambda _: None,
    table: FakeTable | None = None,
) -> None:
    """Run `scenario` beside a started notifier, in virtual time; `table`: what an earlier one has left."""
    clock = FakeClock()

    async def main() -> None:
        world = World(clock, *webhooks, table=table)
        prepare(world)
        world.notifier.start()
        try:
            await scenario(world)
        finally:
            await world.notifier.close()

    run(main(), clock)
