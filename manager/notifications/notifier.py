"""All webhooks: which events each of them is told, who delivers to it, and how it does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import structlog

from manager.clock import Clock
from manager.errors import StoreUnavailable, UnknownWebhook
from manager.events import Event, EventBus
from manager.notifications.courier import Courier
from manager.notifications.message import notification, test_notification
from manager.notifications.metrics import WebhookMetrics
from manager.notifications.sender import Sender
from manager.notifications.views import DeliveryView, WebhookView, delivery_view
from manager.store.deliveries import PRUNE_SLICE, Delivery, DeliveryState, DeliveryTable
from manager.tasks import TaskOwner
from manager.webhook_settings import WebhookSettings

RETENTION = timedelta(days=7)
"""After that a notification is forgotten, whatever became of it."""
_PRUNE_SECONDS = 3600.0
# Seconds that an attempt under way has to be answered when the manager is about to end.
_FINISH_SECONDS = 2.0

log = structlog.get_logger(__name__)


class Notifier:
    """`of` and `written` are the history's to call: notifications are on disk with their event, before any is sent.

    So each is delivered at least once, under one id, over any number of managers.
    """

    def __init__(
        self,
        webhooks: Sequence[WebhookSettings],
        table: DeliveryTable,
        sender: Sender,
        bus: EventBus,
        clock: Clock,
        metrics: WebhookMetrics,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._table = table
        self._sender = sender
        self._bus = bus
        self._clock = clock
        self._metrics = metrics
        self._jitter = jitter
        self._tasks = TaskOwner()
        self._couriers: dict[str, tuple[Courier, asyncio.Task[None] | None]] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        for webhook in webhooks:
            self._couriers[webhook.name] = self._courier(webhook), None

    def start(self) -> None:
        """Begin to deliver what waits and what comes."""
        for name, (courier, _) in self._couriers.items():
            self._couriers[name] = courier, self._begin(courier)

    async def close(self) -> None:
        """Stop; what is not answered in a moment will be delivered by the next manager, with all that waits."""
        for courier, _ in self._couriers.values():
            courier.end()
        tasks = [*(task for _, task in self._couriers.values() if task is not None), *self._leaving.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=_FINISH_SECONDS)
        await self._tasks.close()
        await self._sender.close()

    def of(self, events: Sequence[Event]) -> list[Delivery]:
        """The notifications that follow from the events, due now."""
        now = self._clock.now()
        return [notification(event, hook.name, now) for event in events for hook in self._hooks if _wants(hook, event)]

    def written(self) -> None:
        """What `of` has answered is on disk."""
        for courier, _ in self._couriers.values():
            courier.wake()

    def apply(self, webhooks: Sequence[WebhookSettings]) -> None:
        """Take other settings over. What waits for a webhook that is gone waits for its return."""
        wanted = {webhook.name: webhook for webhook in webhooks}
        for name in self._couriers.keys() - wanted.keys():
            courier, task = self._couriers.pop(name)
            courier.end()
            if task is not None:
                self._leaving[name] = task
        for name, webhook in wanted.items():
            if name in self._couriers:
                self._couriers[name][0].settings = webhook
            else:
                courier = self._courier(webhook)
                self._couriers[name] = courier, self._begin(courier)
        # A reload is also how a person says that what was wrong is mended.
        self._tasks.start("retry notifications", self._resume_all(), may_end=True)

    async def views(self) -> list[WebhookView]:
        """Every webhook, in the order of the config. Raises `StoreUnavailable`."""
        waiting = await self._table.waiting()
        return [await self._view(courier, waiting) for courier, _ in tuple(self._couriers.values())]

    async def deliveries(self, name: str, limit: int = 50) -> list[DeliveryView]:
        """The webhook's newest, newest first. Raises `UnknownWebhook`, `StoreUnavailable`."""
        self._named(name)
        return [delivery_view(each) for each in await self._table.newest(name, limit)]

    async def test(self, name: str) -> DeliveryView:
        """Send it a test, once, and say what came of it. Raises `UnknownWebhook`, `StoreUnavailable`."""
        courier = self._named(name)
        return delivery_view(await courier.test(test_notification(name, self._clock.now())))

    async def prune(self) -> None:
        """Forget what is old, every hour, for ever."""
        while True:
            try:
                while await self._table.prune(self._clock.now() - RETENTION) == PRUNE_SLICE:
                    pass
            except StoreUnavailable as error:
                log.warning("Old notifications cannot be removed; it is tried again", error=error.detail)
            await asyncio.sleep(_PRUNE_SECONDS)

    @property
    def _hooks(self) -> list[WebhookSettings]:
        return [courier.settings for courier, _ in self._couriers.values()]

    def _courier(self, webhook: WebhookSettings) -> Courier:
        self._metrics.begin(webhook.name)
        return Courier(webhook, self._table, self._sender, self._bus, self._clock, self._metrics, jitter=self._jitter)

    def _begin(self, courier: Courier) -> asyncio.Task[None]:
        name = courier.settings.name
        work = _after(self._leaving.pop(name, None), courier)
        return self._tasks.start(f"webhook {name}", work, may_end=True)

    def _named(self, name: str) -> Courier:
        if name not in self._couriers:
            known = ", ".join(self._couriers) or "none"
            raise UnknownWebhook(f"There is no webhook {name!r} in the config; known: {known}.")
        return self._couriers[name][0]

    async def _resume_all(self) -> None:
        for courier, _ in tuple(self._couriers.values()):
            try:
                await courier.resume()
            except StoreUnavailable as error:
                log.warning("Notifications wait for their next attempt", error=error.detail)

    async def _view(self, courier: Courier, waiting: Mapping[str, int]) -> WebhookView:
        settings = courier.settings
        following = await self._table.next(settings.name, self._clock.now())
        tried = await self._table.last_tried(settings.name)
        delivered = await self._table.last_tried(settings.name, state=DeliveryState.DELIVERED)
        return WebhookView.model_validate(
            {
                "name": settings.name,
                "url": settings.url,
                "kinds": list(settings.kinds),
                "agents": None if settings.agents is None else list(settings.agents),
                "pending": waiting.get(settings.name, 0),
                "consecutive_failures": courier.failures,
                "next_attempt_at": following.next_attempt_at if following else None,
                "last_delivery": delivery_view(tried) if tried else None,
                "last_delivered_at": delivered.finished_at if delivered else None,
            }
        )


async def _after(leaving: asyncio.Task[None] | None, courier: Courier) -> None:
    # A webhook that was taken out and put back: what is under way is not to be sent twice.
    if leaving is not None:
        await asyncio.wait({leaving})
    await courier.run()


def _wants(webhook: WebhookSettings, event: Event) -> bool:
    if webhook.agents is not None and event.agent_id not in webhook.agents:
        return False
    return not {event.kind.value, event.topic}.isdisjoint(webhook.kinds)
