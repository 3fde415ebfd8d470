"""The requests of one connection that wait for an answer; its transport and its session share them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agent_service.errors import AdapterError
from agent_service.runtimes.tools.errors import ServerLost


@dataclass(eq=False)
class Pending:
    """One request. `begun`: its transport has begun to send it. `failure`: why no answer will come.

    `give_up` ends its wait, unless its answer is there already.
    """

    give_up: Callable[[], None]
    begun: bool = False
    failure: AdapterError | None = None

    def fail(self, failure: AdapterError) -> None:
        """Let it raise `failure`, the first one, instead of waiting on."""
        if self.failure is None:
            self.failure = failure
            self.give_up()


class Link:
    """One connection, from its opening to its loss. `wake` is called when its owner has something to look at."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._pending: dict[int, Pending] = {}
        self.lost: ServerLost | None = None
        self.is_suspect = False
        self.begins_unseen = False
        """The transport does not tell what it has begun to send: whatever was asked may have been."""
        self.heard_at = 0.0
        """When the server last answered anything or had nothing to answer, in the event loop's time."""

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return len(self._pending)

    def may_be_busy(self, since: float) -> bool:
        """There are requests to answer, and after `since` one was answered, or the first of them came."""
        return bool(self._pending) and self.heard_at >= since

    @contextmanager
    def pending(self, request_id: int, give_up: Callable[[], None]) -> Iterator[Pending]:
        """One request, until it has its answer. Raises `ServerLost` at once when the connection is over."""
        if self.lost is not None:
            raise ServerLost(str(self.lost))
        request = self._pending[request_id] = Pending(give_up, begun=self.begins_unseen)
        try:
            yield request
        finally:
            del self._pending[request_id]

    def began(self, request_id: int | None) -> None:
        """Its transport sends this request now."""
        if request_id is not None and request_id in self._pending:
            self._pending[request_id].begun = True

    def fail(self, request_id: int | None, failure: AdapterError) -> None:
        """Only this request will have no answer; the connection may well go on."""
        if request_id is not None and request_id in self._pending:
            self._pending[request_id].fail(failure)

    def lose(self, reason: str) -> ServerLost:
        """The connection is over, and with it every request; why, as it was first said."""
        if self.lost is None:
            self.lost = ServerLost(reason)
            for request in tuple(self._pending.values()):
                request.fail(ServerLost(reason, begun=request.begun))
            self._wake()
        return self.lost

    def suspect(self) -> None:
        """Something looks wrong: a ping will tell."""
        self.is_suspect = True
        self._wake()
