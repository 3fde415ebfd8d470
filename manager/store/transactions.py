"""The store's one way to the disk, as its tables see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


class Transactions(Protocol):
    """Runs `work` in one transaction on the store's thread. Raises `StoreUnavailable`."""

    async def __call__(self, work: Callable[[Connection], T]) -> T: ...
