"""The event history: subscribes to the bus, writes in batches, answers from disk and from what is not yet there."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from manager.clock import Clock
from manager.errors import StoreUnavailable
from manager.events import Event
from manager.store.store import Store

_RETRY_SECONDS = 5.0
_PRUNE_SECONDS = 3600.0
_PENDING_LIMIT = 10_000

log = structlog.get_logger(__name__)


async def next_event_id(store: Store) -> int:
    """An id for the first event of this manager that no event has had.

    Leaves out as many as a manager that was killed may have given to events that never reached the disk: whoever has
    seen those goes on after them.
    """
    last = await store.last_event_id()
    return last + _PENDING_LIMIT + 1 if last else 1


class EventHistory:
    """Keeps every event for `retention_days`. While the disk refuses, the newest wait in memory, bounded."""

    def __init__(self, store: Store, clock: Clock, *, retention_days: float) -> None:
        self._store = store
        self._clock = clock
        self._retention = timedelta(days=retention_days)
        self._pending: list[Event] = []
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()

    def record(self, event: Event) -> None:
        """Take one event from the bus."""
        if len(self._pending) >= _PENDING_LIMIT:
            del self._pending[0]
        self._pending.append(event)
        self._wake.set()

    async def recent(self, limit: int, agent_id: str | None = None) -> list[Event]:
        """The newest `limit` events, newest first."""
        return (await self.read(limit=limit, agent_id=agent_id))[::-1]

    async def read(self, *, limit: int, after: int | None = None, agent_id: str | None = None) -> list[Event]:
        """Oldest first: the first `limit` after id `after`, or, without it, the newest `limit`."""
        async with self._writing:
            waiting = [
                event
                for event in self._pending
                if event.id > (after or 0) and (agent_id is None or event.agent_id == agent_id)
            ]
            stored = await self._store.events(limit=limit, after=after, agent_id=agent_id)
        merged = list({event.id: event for event in [*stored, *waiting]}.values())
        return merged[-limit:] if after is None else merged[:limit]

    async def run(self) -> None:
        """Write what comes, for ever; a refusing disk is said once and tried again."""
        refused = False
        pruned_at = float("-inf")
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
                if self._clock.monotonic() - pruned_at > _PRUNE_SECONDS:
                    pruned_at = self._clock.monotonic()
                    await self._store.prune_events(self._clock.now() - self._retention)
                refused = False
            except StoreUnavailable as error:
                if not refused:
                    log.error("Event history cannot be written", error=error.detail, waiting=len(self._pending))
                refused = True
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()

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
                await self._store.append_events(batch)
                written = {event.id for event in batch}
                self._pending = [event for event in self._pending if event.id not in written]
