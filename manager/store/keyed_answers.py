"""Executes with an Idempotency-Key as they stand on disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from agent_service.contract import rfc3339
from manager.store import tables
from manager.store.transactions import Transactions

_keys = tables.idempotency_keys


class CallState(StrEnum):
    """`dropped`: it was answered, but the answer was too large to keep. `unknown`: nobody can say whether it was."""

    RUNNING = "running"
    ANSWERED = "answered"
    DROPPED = "dropped"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class KeyedCall:
    """One call. `instance_id`: the process that was asked; `detail`: what is to be said of an unknown outcome."""

    agent_id: str
    key: str
    fingerprint: str
    created_at: str
    state: str = CallState.RUNNING
    attempts: int = 1
    instance_id: str | None = None
    status: int | None = None
    headers: list[list[str]] | None = None
    body: bytes | None = None
    detail: str | None = None


class KeyedAnswers:
    """The table of keyed calls. Every method raises `StoreUnavailable` where the disk fails it."""

    def __init__(self, run: Transactions) -> None:
        self._run = run

    async def get(self, agent_id: str, key: str, *, since: datetime) -> KeyedCall | None:
        """The call with this key, unless it is older than `since`."""
        query = select(_keys).where(*_is(agent_id, key), _keys.c.created_at >= rfc3339(since))
        row = await self._run(lambda db: db.execute(query).mappings().first())
        return KeyedCall(**row) if row else None

    async def put(self, call: KeyedCall) -> None:
        """Write the call down; it is on disk when this returns."""
        values = asdict(call)
        statement = upsert(_keys).values(values)
        statement = statement.on_conflict_do_update(index_elements=["agent_id", "key"], set_=values)
        await self._run(lambda db: db.execute(statement))

    async def remove(self, agent_id: str, key: str) -> None:
        """Forget a call that was never run."""
        await self._run(lambda db: db.execute(delete(_keys).where(*_is(agent_id, key))))

    async def prune(self, *, before: datetime, max_bytes: int) -> None:
        """Forget calls older than `before`, and the oldest answers where all of them are over `max_bytes`."""

        def work(db: Connection) -> None:
            db.execute(delete(_keys).where(_keys.c.created_at < rfc3339(before)))
            _drop_oldest(db, max_bytes)

        await self._run(work)


def dropped(call: KeyedCall) -> KeyedCall:
    """The call without its answer."""
    return replace(call, state=CallState.DROPPED, body=None, headers=None)


def _drop_oldest(db: Connection, max_bytes: int) -> None:
    # Newest first: the running sum says from where on they no longer fit.
    so_far = func.sum(func.length(_keys.c.body)).over(
        order_by=(_keys.c.created_at.desc(), _keys.c.agent_id, _keys.c.key)
    )
    kept = _keys.c.body.is_not(None)
    sums: Select[Any] = select(_keys.c.agent_id, _keys.c.key, so_far.label("so_far")).where(kept)
    inner = sums.subquery()
    for agent_id, key in db.execute(select(inner.c.agent_id, inner.c.key).where(inner.c.so_far > max_bytes)).all():
        values = {"state": CallState.DROPPED, "body": None, "headers": None}
        db.execute(update(_keys).where(*_is(agent_id, key)).values(values))


def _is(agent_id: str, key: str) -> tuple[Any, Any]:
    return _keys.c.agent_id == agent_id, _keys.c.key == key
