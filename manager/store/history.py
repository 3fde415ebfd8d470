"""The event history: subscribes to the bus, writes in batches, answers from disk and from what is not yet there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from manager.clock import Clock
from manager.errors import StoreUnavailable
from manager.event_filter import EVERYTHING, EventFilter
from manager.events import Event
from manager.store.deliveries import Delivery
from manager.store.event_table import PRUNE_SLICE, EventTable

_RETRY_SECONDS = 5.0
_PRUNE_SECONDS = 60.0
_PENDING_LIMIT = 10_000

log = structlog.get_logger(__name__)


async def next_event_id(events: EventTable) -> int:
    """An id for the first event of this manager that no event has had.

    Leaves out as many as a manager that was killed may have given to events that never reached the disk: whoever has
    seen those goes on after them.
    """
    last = await events.last_id()
    return last + _PENDING_LIMIT + 1 if last else 1


@dataclass(frozen=True)
class Retention:
    """How long events are kept, and how many at most."""

    days: float
    count: int


@dataclass(frozen=True)
class EventPage:
    """Events, oldest first, and where to go on from here: `older` as `before`, `newer` as `after`.

    `older` is None where nothing older matches, `newer` where nothing at all was found: more may always come.
    """

    events: list[Event]
    older: int | None
    newer: int | None


class Notifications(Protocol):
    """What is to be told to others of an event, and goes to the disk with it."""

    def of(self, events: Sequence[Event]) -> list[Delivery]: ...

    def written(self) -> None: ...


class EventHistory:
    """Keeps events as `retention` has it. While the disk refuses, the newest wait in memory, bounded."""

    def __init__(
        self, events: EventTable, clock: Clock, *, retention: Retention, notifications: Notifications | None = None
    ) -> None:
        self._events = events
        self._clock = clock
        self._retention = retention
        self._notifications = notifications
        self._pending: list[Event] = []
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """How many events are not on disk yet."""
        return len(self._pending)

    def record(self, event: Event) -> None:
        """Take one event from the bus."""
        if len(self._pending) >= _PENDING_LIMIT:
            del self._pending[0]
        self._pending.append(event)
        self._wake.set()

    async def recent(self, limit: int, agent_id: str | None = None) -> list[Event]:
        """The newest `limit` events, newest first."""
        return (await self.read(EventFilter(agent_id=agent_id), limit=limit))[::-1]

    async def read(
        self, asked: EventFilter = EVERYTHING, *, limit: int, after: int | None = None, before: int | None = None
    ) -> list[Event]:
        """Oldest first: the first `limit` after id `after`; without it the newest `limit`, of those below `before`."""
        async with self._writing:
            waiting = [
                event
                for event in self._pending
                if event.id > (after or 0) and (before is None or event.id < before) and asked.matches(event)
            ]
            stored = await self._events.find(asked, limit=limit, after=after, before=before)
        merged = list({event.id: event for event in [*stored, *waiting]}.values())
        return merged[-limit:] if after is None else merged[:limit]

    async def page(
        self, asked: EventFilter = EVERYTHING, *, limit: int, after: int | None = None, before: int | None = None
    ) -> EventPage:
        """The events as `read` finds them. Raises `StoreUnavailable`."""
        found = await self.read(asked, limit=limit + 1, after=after, before=before)
        if after is not None:
            events = found[:limit]
            has_older = bool(events) and bool(await self.read(asked, limit=1, before=events[0].id))
        else:
            events, has_older = found[-limit:], len(found) > limit
        return EventPage(
            events,
            older=events[0].id if has_older else None,
            newer=events[-1].id if events else after,
        )

    async def run(self) -> None:
        """Write what comes, for ever; a refusing disk is said once and tried again."""
        refused = False
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
                refused = False
            except StoreUnavailable as error:
                if not refused:
                    log.error("Event history cannot be written", error=error.detail, waiting=len(self._pending))
                refused = True
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()

    async def prune(self) -> None:
        """Forget what is not to be kept, every minute, for ever; in slices, so that nobody waits for it."""
        while True:
            try:
                while await self._prune_slice() == PRUNE_SLICE:
                    pass
            except StoreUnavailable as error:
                log.warning("Old events cannot be removed; it is tried again", error=error.detail)
            await asyncio.sleep(_PRUNE_SECONDS)

    async def close(self) -> None:
        """Write what waits, one last time."""
        try:
            await self.flush()
        except StoreUnavailable as error:
            log.error("Newest events are lost", error=error.detail, lost=len(self._pending))

    async def flush(self) -> None:
        """Write what waits. Raises `StoreUnavailable`; what was not written keeps waiting."""
        async with self._writing:
            batch = tuple(self._pending)
            if batch:
                await self._events.append(batch, self._notifications.of(batch) if self._notifications else ())
                written = {event.id for event in batch}
                self._pending = [event for event in self._pending if event.id not in written]
        if batch and self._notifications:
            self._notifications.written()

    async def _prune_slice(self) -> int:
        oldest = self._clock.now() - timedelta(days=self._retention.days)
        return await self._events.prune(before=oldest, keep=self._retention.count)
