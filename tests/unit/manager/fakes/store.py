"""The store in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from manager.errors import StoreUnavailable
from manager.store.store import DesiredRecord, InstanceRecord


class FakeStore:
    """The store's tables in memory; `refusing` is a full disk. `journal` keeps the order of what was written."""

    def __init__(self) -> None:
        self.refusing = False
        self.desired: dict[str, DesiredRecord] = {}
        self.records: dict[str, InstanceRecord] = {}
        self.journal: list[str] = []

    async def desired_states(self) -> dict[str, DesiredRecord]:
        await self._work("desired_states")
        return dict(self.desired)

    async def set_desired(self, record: DesiredRecord) -> None:
        await self._work("set_desired")
        self.desired[record.agent_id] = record

    async def instances(self) -> list[InstanceRecord]:
        await self._work("instances")
        return list(self.records.values())

    async def add_instance(self, record: InstanceRecord) -> None:
        await self._work("add_instance")
        self.records[record.instance_id] = record

    async def note_service_url(self, instance_id: str, service_url: str) -> None:
        await self._work("note_service_url")
        if instance_id in self.records:
            self.records[instance_id] = replace(self.records[instance_id], service_url=service_url)

    async def remove_instance(self, instance_id: str) -> None:
        await self._work("remove_instance")
        self.records.pop(instance_id, None)

    async def _work(self, what: str) -> None:
        await asyncio.sleep(0)
        if self.refusing:
            raise StoreUnavailable("The disk is full; make room.")
        self.journal.append(what)
