"""What must survive, read and written off the event loop by one thread, so that writes keep their order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from manager.errors import StoreUnavailable
from manager.store import tables
from manager.store.database import open_database
from manager.store.deliveries import DeliveryTable
from manager.store.event_table import EventTable
from manager.store.keyed_answers import KeyedAnswers
from manager.store.tracing_table import TracingTable
from manager.store.transactions import choose, replacing

T = TypeVar("T")


@dataclass(frozen=True)
class DesiredRecord:
    """What a person chose for one agent."""

    agent_id: str
    desired_state: str
    reason: str | None
    actor: str
    changed_at: str
    instances: int | None = None
    """How many a person wants; None: as many as the config says."""


@dataclass(frozen=True)
class InstanceRecord:
    """One running process: what tells it from a stranger that was given the same pid, and what it was."""

    instance_id: str
    agent_id: str
    pid: int
    process_created_at: str
    boot_id: str
    started_at: str
    service_url: str | None
    log_offset: int
    restarts: int


class Store:
    """The database behind async calls. Every method raises `StoreUnavailable` where the disk fails it.

    `check` does so too where what is written would be lost: without being asked, SQLite goes on in removed files.
    """

    def __init__(
        self, engine: Engine, check: Callable[[], None], observe: Callable[[float], None] = lambda _seconds: None
    ) -> None:
        self._engine = engine
        self._check = check
        self._observe = observe
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self.events = EventTable(self._run)
        self.deliveries = DeliveryTable(self._run)
        self.keyed_answers = KeyedAnswers(self._run)
        self.tracing = TracingTable(self._run, check)

    @classmethod
    async def open(
        cls,
        directory: Path,
        check: Callable[[], None] = lambda: None,
        observe: Callable[[float], None] = lambda _seconds: None,
    ) -> Store:
        """The store in `directory`, migrated; `observe` is told how many seconds each call took."""
        return cls(await asyncio.to_thread(open_database, directory), check, observe)

    async def close(self) -> None:
        """Finish what is queued and close the file."""
        await asyncio.to_thread(self._thread.shutdown)
        self._engine.dispose()

    async def desired_states(self) -> dict[str, DesiredRecord]:
        """Every choice that a person made, by agent id."""
        query = select(tables.desired_states)
        rows = await self._run(lambda db: db.execute(query).mappings().all())
        return {row["agent_id"]: DesiredRecord(**row) for row in rows}

    async def set_desired(self, record: DesiredRecord) -> None:
        """Keep a person's choice; it is on disk when this returns."""
        await choose(self._run, self._check, replacing(tables.desired_states, record))

    async def instances(self) -> list[InstanceRecord]:
        """The processes that ran when last heard of."""
        query = select(tables.instances)
        rows = await self._run(lambda db: db.execute(query).mappings().all())
        return [InstanceRecord(**row) for row in rows]

    async def add_instance(self, record: InstanceRecord) -> None:
        """Remember a process that was started."""
        values = asdict(record)
        await self._run(lambda db: db.execute(insert(tables.instances).values(values)))

    async def note_service_url(self, instance_id: str, service_url: str) -> None:
        """Remember where a process answers, so that the next manager can ask it who it is."""
        instances = tables.instances
        statement = update(instances).where(instances.c.instance_id == instance_id).values(service_url=service_url)
        await self._run(lambda db: db.execute(statement))

    async def remove_instance(self, instance_id: str) -> None:
        """Forget a process that has ended."""
        statement = delete(tables.instances).where(tables.instances.c.instance_id == instance_id)
        await self._run(lambda db: db.execute(statement))

    async def _run(self, work: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            with self._engine.begin() as connection:
                return work(connection)

        asked = perf_counter()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise StoreUnavailable(
                f"The state directory cannot be written or read ({cause}); nothing was changed. "
                "Free disk space or mend its permissions, then try again."
            ) from error
        finally:
            self._observe(perf_counter() - asked)
