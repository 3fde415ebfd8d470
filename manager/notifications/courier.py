"""Delivers the notifications of one webhook: one at a time, tried again with growing waits, until each is given up.

While the receiver is away (no answer, or 5xx) the whole webhook waits, and goes on with the oldest: in order. One
that the receiver refuses (4xx) waits by itself, and the others pass it. Which of the two it is stands with the
notification, so that the next manager keeps the order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from agent_service.backoff import backoff
from agent_service.contract import rfc3339
from manager.clock import Clock
from manager.errors import StoreUnavailable
from manager.events import EventBus, EventKind
from manager.notifications.metrics import WebhookMetrics
from manager.notifications.sender import Attempt, Sender
from manager.store.deliveries import Delivery, DeliveryState, DeliveryTable
from manager.webhook_settings import WebhookSettings

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 900.0
PENDING_LIMIT = 1000
_STORE_RETRY_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Courier:
    """`settings` may be replaced at any time; the next attempt obeys them. `jitter` answers 0 to 1."""

    def __init__(
        self,
        settings: WebhookSettings,
        table: DeliveryTable,
        sender: Sender,
        bus: EventBus,
        clock: Clock,
        metrics: WebhookMetrics,
        *,
        jitter: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.failures = 0
        """In a row."""
        self._table = table
        self._sender = sender
        self._bus = bus
        self._clock = clock
        self._metrics = metrics
        self._jitter = jitter
        self._wake = asyncio.Event()
        self._resting_until = float("-inf")
        self._tried: Delivery | None = None
        self._is_ending = False

    def wake(self) -> None:
        """There may be something to deliver."""
        self._wake.set()

    async def resume(self) -> None:
        """Try everything that waits now: what was wrong may have been mended. Raises `StoreUnavailable`."""
        await self._table.make_due(self.settings.name, self._clock.now())
        self._resting_until = float("-inf")
        self.wake()

    def end(self) -> None:
        """Finish what is under way, and nothing more: what was taken is not to be sent again."""
        self._is_ending = True
        self.wake()

    async def run(self) -> None:
        """Deliver what comes, until the end."""
        while not self._is_ending:
            self._wake.clear()
            try:
                wait = await self._step()
            except StoreUnavailable as error:
                log.warning("Notifications cannot be read or kept", webhook=self.settings.name, error=error.detail)
                wait = _STORE_RETRY_SECONDS
            await self._until_woken(wait)

    async def test(self, delivery: Delivery) -> Delivery:
        """Try once and keep what became of it; where it arrives, what waits is tried at once. Raises
        `StoreUnavailable`.
        """
        tried = self._judged(delivery, await self._attempt(delivery), wait=None)
        await self._table.add(tried)
        if tried.state == DeliveryState.DELIVERED:
            await self.resume()
        return tried

    async def _step(self) -> float | None:
        """Deliver at most one; answers after how many seconds to look again, None where only a new one matters."""
        await self._keep()
        name = self.settings.name
        waiting = (await self._table.waiting()).get(name, 0)
        if waiting > PENDING_LIMIT:
            await self._give_up_oldest()
        self._metrics.waiting(name, min(waiting, PENDING_LIMIT))
        if (rest := self._resting_until - self._clock.monotonic()) > 0:
            return rest
        delivery = await self._table.next(name, self._clock.now())
        if delivery is None:
            return None
        if (wait := self._seconds_until(delivery)) > 0:
            return wait
        await self._deliver(delivery)
        return 0.0

    async def _deliver(self, delivery: Delivery) -> None:
        attempt = await self._attempt(delivery)
        jitter = self._jitter()
        wait = _wait_after(delivery.attempts, attempt, jitter)
        self._tried = self._judged(delivery, attempt, wait=None if self._is_over(delivery) else wait)
        self._note(attempt, _wait_after(self.failures, attempt, jitter))
        await self._keep()

    async def _keep(self) -> None:
        """Write down what became of the newest attempt. Nothing is sent before: it might be the same once more."""
        if (tried := self._tried) is None:
            return
        await self._table.update(tried)
        self._tried = None
        if tried.state == DeliveryState.GIVEN_UP:
            attempts = f"{tried.attempts} attempt{'s' if tried.attempts > 1 else ''}"
            self._announce(1, f"The notification {tried.id} was given up after {attempts}", str(tried.error))

    async def _attempt(self, delivery: Delivery) -> Attempt:
        attempt = await self._sender.send(self.settings, delivery)
        self._metrics.attempted(self.settings.name, delivered=attempt.error is None)
        return attempt

    def _judged(self, delivery: Delivery, attempt: Attempt, *, wait: float | None) -> Delivery:
        """The delivery after the attempt; it waits so many seconds for the next one, None: there will be no other."""
        tried = replace(
            delivery,
            attempts=delivery.attempts + 1,
            refused=attempt.is_refused,
            status=attempt.status,
            error=attempt.error,
            duration_ms=attempt.duration_ms,
        )
        now = self._clock.now()
        if attempt.error is not None and wait is not None and not attempt.is_final:
            return replace(tried, next_attempt_at=rfc3339(now + timedelta(seconds=wait)))
        state = DeliveryState.GIVEN_UP if attempt.error else DeliveryState.DELIVERED
        # What it said is in the history; here it would only take room.
        return replace(tried, state=state, body="", next_attempt_at=None, finished_at=rfc3339(now))

    def _note(self, attempt: Attempt, rest: float) -> None:
        """Rest after a failure, the longer the more there were in a row."""
        name = self.settings.name
        if attempt.error is None:
            if self.failures:
                log.info("Webhook takes notifications again", webhook=name)
            self.failures = 0
            return
        if not self.failures:
            log.warning("Webhook does not take notifications; they are tried again", webhook=name, error=attempt.error)
        self.failures += 1
        # One that is refused waits by itself: the next may be taken.
        if not attempt.is_refused:
            self._resting_until = self._clock.monotonic() + rest

    async def _give_up_oldest(self) -> None:
        error = f"More than {PENDING_LIMIT} notifications waited; the oldest were given up."
        now = self._clock.now()
        count = await self._table.give_up_oldest(self.settings.name, keep=PENDING_LIMIT, now=now, error=error)
        if count:
            self._announce(count, f"{count} notifications were given up", error)

    def _announce(self, count: int, what: str, error: str) -> None:
        name = self.settings.name
        self._metrics.given_up(name, count)
        message = f"{what}, webhook {name}: {error}"
        self._bus.publish(EventKind.WEBHOOK_FAILED, message, webhook=name, given_up=count, error=error)

    def _is_over(self, delivery: Delivery) -> bool:
        age = self._clock.now() - datetime.fromisoformat(delivery.created_at)
        return age.total_seconds() >= self.settings.give_up_after_seconds

    def _seconds_until(self, delivery: Delivery) -> float:
        if not delivery.attempts:
            return 0.0
        due = datetime.fromisoformat(delivery.next_attempt_at or delivery.created_at)
        seconds = (due - self._clock.now()).total_seconds()
        # No wait is longer: this one was written down before the clock was set back.
        return seconds if seconds <= LONGEST_WAIT_SECONDS else 0.0

    async def _until_woken(self, wait: float | None) -> None:
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            return


def _wait_after(failures: int, attempt: Attempt, jitter: float) -> float:
    # The same jitter for a notification and for its webhook: while the receiver is away, both waits end together, and
    # the oldest goes first again.
    wait = backoff(failures, first=FIRST_WAIT_SECONDS, longest=LONGEST_WAIT_SECONDS, jitter=jitter)
    return min(max(wait, attempt.retry_after_seconds), LONGEST_WAIT_SECONDS)
