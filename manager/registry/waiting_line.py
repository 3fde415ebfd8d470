"""A fair line: first come first served for each client, and the clients take turns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class WaitingLine(Generic[T]):
    """A client that sends a thousand requests delays another's single one by one turn. All is O(1)."""

    def __init__(self) -> None:
        # Ordered dictionaries rather than deques: whoever leaves is taken out without a search.
        self._clients: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        """Everybody who waits, in no particular order."""
        return (item for items in self._clients.values() for item in items)

    def join(self, client: str, item: T) -> None:
        """Stand at the end of the client's own line."""
        self._clients.setdefault(client, OrderedDict())[item] = None
        self._length += 1

    def leave(self, client: str, item: T) -> None:
        """Take out who no longer waits; who is not in the line is no error."""
        items = self._clients.get(client)
        if items is None or item not in items:
            return
        del items[item]
        self._length -= 1
        if not items:
            del self._clients[client]

    def next(self) -> T:
        """Take out whose turn it is; its client goes to the end of the round. Raises `KeyError` when empty."""
        client, items = self._clients.popitem(last=False)
        item, _ = items.popitem(last=False)
        self._length -= 1
        if items:
            self._clients[client] = items
        return item
