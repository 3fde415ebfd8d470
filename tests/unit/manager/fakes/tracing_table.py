"""What people have set of traces, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from manager.errors import StoreUnavailable
from manager.store.tracing_table import TracingRecord


class FakeTracingTable:
    """`refusing` is a full disk."""

    def __init__(self) -> None:
        self.rows: dict[str, TracingRecord] = {}
        self.refusing = False

    async def all(self) -> list[TracingRecord]:
        return list(self.rows.values())

    async def put(self, record: TracingRecord) -> None:
        await self._work()
        self.rows[record.agent_id] = record

    async def remove(self, agent_ids: Collection[str]) -> None:
        await self._work()
        for agent_id in agent_ids:
            self.rows.pop(agent_id, None)

    async def _work(self) -> None:
        await asyncio.sleep(0)
        if self.refusing:
            raise StoreUnavailable("The disk is full; make room.")
