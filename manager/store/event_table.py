"""The lifecycle history on disk. Where it takes notifications along, both are written or neither."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select
from sqlalchemy.dialects.sqlite import insert as upsert

from agent_service.contract import rfc3339
from manager.event_filter import EVERYTHING, EventFilter
from manager.events import STATES, Event, EventKind
from manager.store import tables
from manager.store.deliveries import Delivery, enqueue
from manager.store.transactions import Transactions

# So many in one transaction: between two of them others have their turn.
PRUNE_SLICE = 500

_events = tables.events


class EventTable:
    """Every method raises `StoreUnavailable` where the disk fails it."""

    def __init__(self, run: Transactions) -> None:
        self._run = run

    async def append(self, events: Sequence[Event], notifications: Sequence[Delivery] = ()) -> None:
        """Add to the history, in one transaction; what is there already is left as it is."""
        rows = [{**event.to_wire(), "at": rfc3339(event.at)} for event in events]
        statement = upsert(_events).on_conflict_do_nothing()

        def work(db: Connection) -> None:
            db.execute(statement, rows)
            enqueue(db, notifications)

        await self._run(work)

    async def last_id(self) -> int:
        """The newest event's id, 0 in an empty history."""
        query = select(func.max(_events.c.id))
        return await self._run(lambda db: db.execute(query).scalar()) or 0

    async def find(
        self, asked: EventFilter = EVERYTHING, *, limit: int, after: int | None = None, before: int | None = None
    ) -> list[Event]:
        """Oldest first: the first `limit` after id `after`; without it the newest `limit`, of those below `before`."""
        query = select(_events).where(*_conditions(asked)).limit(limit)
        if before is not None:
            query = query.where(_events.c.id < before)
        if after is None:
            query = query.order_by(_events.c.id.desc())
        else:
            query = query.where(_events.c.id > after).order_by(_events.c.id)
        rows = await self._run(lambda db: db.execute(query).mappings().all())
        found = [_event(**row) for row in rows]
        return found[::-1] if after is None else found

    async def prune(self, *, before: datetime, keep: int) -> int:
        """Forget some events older than `before` or not among the newest `keep`; answers how many, at most a slice.

        The newest stays in any case: the ids of the next manager begin after it.
        """

        def work(db: Connection) -> int:
            chosen = sorted({*_too_old(db, before), *_too_many(db, keep)})[:PRUNE_SLICE]
            return db.execute(delete(_events).where(_events.c.id.in_(chosen))).rowcount if chosen else 0

        return await self._run(work)


# Each of these reads an index and no row, however many events there are.
def _too_old(db: Connection, before: datetime) -> list[int]:
    newest = select(func.max(_events.c.id)).scalar_subquery()
    query = select(_events.c.id).where(_events.c.at < rfc3339(before), _events.c.id < newest)
    return list(db.scalars(query.order_by(_events.c.at).limit(PRUNE_SLICE)))


def _too_many(db: Connection, keep: int) -> list[int]:
    excess = (db.scalar(select(func.count()).select_from(_events)) or 0) - keep
    return list(db.scalars(select(_events.c.id).order_by(_events.c.id).limit(max(0, min(excess, PRUNE_SLICE)))))


def _conditions(asked: EventFilter) -> list[ColumnElement[bool]]:
    """As `EventFilter.matches` has it."""
    found: list[ColumnElement[bool]] = []
    if asked.agent_id is not None:
        found.append(_events.c.agent_id == asked.agent_id)
    if asked.actor is not None:
        found.append(_events.c.actor == asked.actor)
    if asked.since is not None:
        found.append(_events.c.at >= rfc3339(asked.since))
    if asked.until is not None:
        found.append(_events.c.at < rfc3339(asked.until))
    if asked.kinds:
        found.append(_of_kinds(asked.kinds))
    if asked.text:
        places = (_events.c.message, func.coalesce(_events.c.reason, ""))
        found.append(or_(*(func.instr(func.lower(place), func.lower(asked.text)) > 0 for place in places)))
    return found


def _of_kinds(topics: frozenset[str]) -> ColumnElement[bool]:
    """Put so that one index leads to the rows in their order: an `or` between kinds would have all of them sorted."""
    states, changed = sorted(topics.intersection(STATES)), EventKind.STATE_CHANGED.value
    kinds = topics.difference(STATES)
    if not states or changed in kinds:
        return _events.c.kind.in_(sorted(kinds))
    is_into_state = _events.c.data["state"].as_string().in_(states)
    if not kinds:
        return and_(_events.c.kind == changed, is_into_state)
    return and_(_events.c.kind.in_(sorted({*kinds, changed})), or_(_events.c.kind != changed, is_into_state))


def _event(*, at: str, kind: str, **rest: object) -> Event:
    return Event(at=datetime.fromisoformat(at), kind=EventKind(kind), **rest)  # type: ignore[arg-type]
