"""What of each agent is traced: as its definition says, or as a person has set it, over any number of managers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from agent_service.contract import rfc3339
from agent_service.definition import Tracing
from agent_service.tracing.policy import Policy
from manager.clock import Clock
from manager.errors import StoreUnavailable
from manager.store.tracing_table import TracingRecord, TracingTable

log = structlog.get_logger(__name__)


class Policies:
    """`defined`: what an agent's definition says now. What a person sets is on disk before it holds."""

    def __init__(
        self, defined: Callable[[str], Tracing | None], fleet_rate: float, table: TracingTable, clock: Clock
    ) -> None:
        self._defined = defined
        self._fleet_rate = fleet_rate
        self._table = table
        self._clock = clock
        self._records: dict[str, TracingRecord] = {}
        self._changing = asyncio.Lock()

    async def restore(self) -> None:
        """Take over what was set under earlier managers. Raises `StoreUnavailable`."""
        self._records = {record.agent_id: record for record in await self._table.all()}

    def of(self, agent_id: str) -> Tracing:
        """What holds."""
        found = self.override_of(agent_id)
        return found if found is not None else Policy(lambda: self._defined(agent_id), self._fleet_rate).now()

    def override_of(self, agent_id: str) -> Tracing | None:
        """What a person has set."""
        record = self._records.get(agent_id)
        return None if record is None else Tracing(enabled=record.enabled, sample_rate=record.sample_rate)

    def record_of(self, agent_id: str) -> TracingRecord | None:
        """Who has set it, and when."""
        return self._records.get(agent_id)

    async def set(
        self, agent_id: str, *, enabled: bool | None, sample_rate: float | None, actor: str, managed: bool
    ) -> None:
        """From now on this; None leaves that part as it is. Raises `StoreUnavailable`, with nothing changed."""
        async with self._changing:
            now = self.of(agent_id)
            record = TracingRecord(
                agent_id=agent_id,
                enabled=now.enabled if enabled is None else enabled,
                sample_rate=now.sample_rate if sample_rate is None else sample_rate,
                managed=managed,
                set_by=actor,
                set_at=rfc3339(self._clock.now()),
            )
            await self._table.put(record)
            self._records[agent_id] = record

    async def reset(self, agent_id: str) -> None:
        """From now on as the definition says. Raises `StoreUnavailable`, with nothing changed."""
        async with self._changing:
            await self._table.remove([agent_id])
            self._records.pop(agent_id, None)

    async def retain(self, configured: Collection[str]) -> None:
        """Forget what was set of agents that have left the config since."""
        async with self._changing:
            gone = [each for each, record in self._records.items() if record.managed and each not in configured]
            for agent_id in gone:
                del self._records[agent_id]
            try:
                if gone:
                    await self._table.remove(gone)
            except StoreUnavailable as error:
                log.warning("What was set of traces is forgotten at the next start", agents=gone, error=error.detail)
