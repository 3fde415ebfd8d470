"""The store's one way to the disk, as its tables see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol, TypeVar

from sqlalchemy import Connection, Executable, Table
from sqlalchemy.dialects.sqlite import Insert, insert

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


class Transactions(Protocol):
    """Runs `work` in one transaction on the store's thread. Raises `StoreUnavailable`."""

    async def __call__(self, work: Callable[[Connection], T]) -> T: ...


async def choose(run: Transactions, check: Callable[[], None], statement: Executable) -> None:
    """Carry out what a person chose; it is on disk when this returns. `check` raises where it would be lost."""

    def work(db: Connection) -> None:
        check()
        db.execute(statement)

    await run(work)


def replacing(table: Table, record: DataclassInstance) -> Insert:
    """Puts the record into the table, in the place of one with the same key."""
    values = asdict(record)
    return insert(table).values(values).on_conflict_do_update(index_elements=list(table.primary_key), set_=values)
