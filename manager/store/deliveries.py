"""Notifications on disk: those that wait to be delivered, in their order, and what became of the newest others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, not_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from agent_service.contract import rfc3339
from manager.store import tables
from manager.store.transactions import Transactions

# So many in one transaction: between two of them others have their turn.
PRUNE_SLICE = 500

_deliveries = tables.webhook_deliveries


class DeliveryState(StrEnum):
    """`given_up`: it was tried for long enough, or too many waited."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True)
class Delivery:
    """One notification to one webhook. `id` names it to the receiver, in every attempt; `event_id` is None for a test.

    Times are RFC 3339. `status`, `error` (a sentence) and `duration_ms` are those of the newest attempt. `refused`: the
    receiver was there then and did not take this one, so that the others need not wait for it.
    """

    id: str
    webhook: str
    event_id: int | None
    type: str
    body: str
    created_at: str
    state: str = DeliveryState.PENDING
    attempts: int = 0
    refused: bool = False
    next_attempt_at: str | None = None
    finished_at: str | None = None
    status: int | None = None
    error: str | None = None
    duration_ms: float | None = None


class DeliveryTable:
    """Every method raises `StoreUnavailable` where the disk fails it."""

    def __init__(self, run: Transactions) -> None:
        self._run = run

    async def add(self, delivery: Delivery) -> None:
        """Keep one that belongs to no event."""
        await self._run(lambda db: enqueue(db, [delivery]))

    async def next(self, webhook: str, now: datetime) -> Delivery | None:
        """The oldest, due or not, but for those that wait by themselves and are not due; where there are only such, the
        one that is due first; None where none waits.
        """
        query = select(_deliveries).where(*_pending(webhook)).limit(1)
        passed = and_(_deliveries.c.refused, _deliveries.c.next_attempt_at > rfc3339(now))
        first = query.where(not_(passed)).order_by(_deliveries.c.number)
        later = query.order_by(_deliveries.c.next_attempt_at, _deliveries.c.number)

        def work(db: Connection) -> Delivery | None:
            row = db.execute(first).mappings().first() or db.execute(later).mappings().first()
            return _delivery(row) if row else None

        return await self._run(work)

    async def update(self, delivery: Delivery) -> None:
        """Keep what became of it."""
        statement = update(_deliveries).where(_deliveries.c.id == delivery.id).values(asdict(delivery))
        await self._run(lambda db: db.execute(statement))

    async def make_due(self, webhook: str, now: datetime) -> None:
        """Have all that wait tried now."""
        statement = update(_deliveries).where(*_pending(webhook)).values(next_attempt_at=rfc3339(now))
        await self._run(lambda db: db.execute(statement))

    async def give_up_oldest(self, webhook: str, *, keep: int, now: datetime, error: str) -> int:
        """Leave at most `keep` waiting, the newest; answers how many were given up."""
        kept = select(_deliveries.c.number).where(*_pending(webhook)).order_by(_deliveries.c.number.desc()).limit(keep)
        values = {
            "state": DeliveryState.GIVEN_UP,
            "body": "",
            "next_attempt_at": None,
            "finished_at": rfc3339(now),
            "error": error,
        }
        statement = update(_deliveries).where(*_pending(webhook), _deliveries.c.number.not_in(kept)).values(values)
        return await self._run(lambda db: db.execute(statement).rowcount)

    async def newest(self, webhook: str, limit: int) -> list[Delivery]:
        """Newest first, whatever became of them."""
        query = select(_deliveries).where(_deliveries.c.webhook == webhook)
        query = query.order_by(_deliveries.c.number.desc()).limit(limit)
        rows = await self._run(lambda db: db.execute(query).mappings().all())
        return [_delivery(row) for row in rows]

    async def last_tried(self, webhook: str, *, state: DeliveryState | None = None) -> Delivery | None:
        """Of those that were tried at least once (and are in that state) the newest."""
        query = select(_deliveries).where(_deliveries.c.webhook == webhook, _deliveries.c.attempts > 0)
        if state is not None:
            query = query.where(_deliveries.c.state == state)
        query = query.order_by(_deliveries.c.number.desc()).limit(1)
        row = await self._run(lambda db: db.execute(query).mappings().first())
        return _delivery(row) if row else None

    async def waiting(self) -> dict[str, int]:
        """How many wait, by webhook."""
        query = select(_deliveries.c.webhook, func.count())
        query = query.where(_deliveries.c.state == DeliveryState.PENDING).group_by(_deliveries.c.webhook)
        rows = await self._run(lambda db: db.execute(query).all())
        return {webhook: count for webhook, count in rows}

    async def prune(self, before: datetime) -> int:
        """Forget some that are older, whatever became of them; answers how many, at most a slice."""
        chosen = select(_deliveries.c.number).where(_deliveries.c.created_at < rfc3339(before)).limit(PRUNE_SLICE)
        statement = delete(_deliveries).where(_deliveries.c.number.in_(chosen))
        return await self._run(lambda db: db.execute(statement).rowcount)


def enqueue(db: Connection, deliveries: Sequence[Delivery]) -> None:
    """Within a transaction: add those whose event was not told to their webhook yet."""
    if deliveries:
        db.execute(upsert(_deliveries).on_conflict_do_nothing(), [asdict(each) for each in deliveries])


def _pending(webhook: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return _deliveries.c.webhook == webhook, _deliveries.c.state == DeliveryState.PENDING


def _delivery(row: Any) -> Delivery:
    return Delivery(**{key: value for key, value in row.items() if key != "number"})
