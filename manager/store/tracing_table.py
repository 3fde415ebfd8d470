"""What people have set of agents' traces, on disk."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy import delete, select

from manager.store import tables
from manager.store.transactions import Transactions, choose, replacing

_overrides = tables.tracing_overrides


@dataclass(frozen=True)
class TracingRecord:
    """Of one agent. `managed`: it was one of the config. `set_at` is RFC 3339."""

    agent_id: str
    enabled: bool
    sample_rate: float
    managed: bool
    set_by: str
    set_at: str


class TracingTable:
    """Every method raises `StoreUnavailable` where the disk fails it; `check` does where a choice would be lost."""

    def __init__(self, run: Transactions, check: Callable[[], None]) -> None:
        self._run = run
        self._check = check

    async def all(self) -> list[TracingRecord]:
        """What is set."""
        rows = await self._run(lambda db: db.execute(select(_overrides)).mappings().all())
        return [TracingRecord(**row) for row in rows]

    async def put(self, record: TracingRecord) -> None:
        """Keep what a person set; it is on disk when this returns."""
        await choose(self._run, self._check, replacing(_overrides, record))

    async def remove(self, agent_ids: Collection[str]) -> None:
        """Forget what was set of these."""
        await choose(self._run, self._check, delete(_overrides).where(_overrides.c.agent_id.in_(agent_ids)))
