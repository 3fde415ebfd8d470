"""The adapter's lifecycle: one enum (`contract.AdapterStatus`), one table, changed in one method.

running ◀──pause, resume──▶ paused
   │                          │
   └─────── stop, restart ────┘
                 ▼
             stopping ──drained, or deadline passed──▶ stopped
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import structlog

from agent_service.contract import AdapterAction, AdapterStatus
from agent_service.errors import StateConflict
from agent_service.notice import Notice

log = structlog.stdlib.get_logger(__name__)

_S = AdapterStatus

TRANSITIONS: dict[AdapterStatus, frozenset[AdapterStatus]] = {
    _S.RUNNING: frozenset({_S.PAUSED, _S.STOPPING}),
    _S.PAUSED: frozenset({_S.RUNNING, _S.STOPPING}),
    _S.STOPPING: frozenset({_S.STOPPED}),
    _S.STOPPED: frozenset(),
}


class Ending(StrEnum):
    """What follows the drain."""

    STOP = "stop"
    RESTART = "restart"


def utc_now() -> datetime:
    return datetime.now(UTC)


class Lifecycle:
    """Status, readiness and the drain deadline of one adapter.

    `activity` is announced at every change here and, while stopping, at every change of the tasks in flight.
    `ending_asked` is set once, when stopping begins. `hands_over`: restarted while it runs, the agent leaves the port
    that it shares to others; until it has, `handing_over` is true, and work that still arrives there is taken.
    """

    def __init__(
        self,
        initial: AdapterStatus = AdapterStatus.RUNNING,
        *,
        drain_timeout_seconds: float,
        hands_over: bool = False,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.status = initial
        self.ready = False
        self.handing_over = False
        self.ending: Ending | None = None
        self.drain_deadline: datetime | None = None
        self.activity = Notice()
        self.ending_asked = asyncio.Event()
        self._drain_timeout_seconds = drain_timeout_seconds
        self._hands_over = hands_over
        self._deadline: float | None = None
        self._now = now
        self._monotonic = monotonic

    @property
    def stopping(self) -> bool:
        """No new work is taken any more."""
        return self.status in (_S.STOPPING, _S.STOPPED)

    def become_ready(self) -> None:
        """The runtime is open: work may come."""
        self.ready = True
        self.activity.announce()

    def act(self, action: AdapterAction, timeout_seconds: float | None = None) -> AdapterStatus:
        """Do what a person or the manager asks; repeating it is harmless. Raises `StateConflict`."""
        match action:
            case AdapterAction.PAUSE:
                self._move(_S.PAUSED)
            case AdapterAction.RESUME:
                self._move(_S.RUNNING)
            case AdapterAction.STOP:
                self._end(Ending.STOP, timeout_seconds)
            case AdapterAction.RESTART:
                self._end(Ending.RESTART, timeout_seconds)
        return self.status

    def finish(self) -> None:
        """The drain is over."""
        self._move(_S.STOPPED)

    def drain_seconds_left(self) -> float:
        """Seconds until the drain deadline; 0 once it has passed."""
        return max(0.0, (self._deadline or 0.0) - self._monotonic())

    def _end(self, ending: Ending, timeout_seconds: float | None) -> None:
        if not self.stopping:
            self.ending = ending
            self.handing_over = self._hands_over and ending is Ending.RESTART and self.status is _S.RUNNING
            self._set_deadline(self._drain_timeout_seconds if timeout_seconds is None else timeout_seconds)
            self._move(_S.STOPPING)
            self.ending_asked.set()
            return
        if ending is Ending.RESTART and self.ending is Ending.STOP:
            raise StateConflict("The agent is stopping and will not come back; start it again once it has stopped.")
        # A stop outranks the restart under way; a second timeout may bring the deadline nearer, never put it off.
        self.ending = ending
        self.handing_over = self.handing_over and ending is Ending.RESTART
        if timeout_seconds is not None and timeout_seconds < self.drain_seconds_left():
            self._set_deadline(timeout_seconds)
            self.activity.announce()

    def _set_deadline(self, timeout_seconds: float) -> None:
        self._deadline = self._monotonic() + timeout_seconds
        self.drain_deadline = self._now() + timedelta(seconds=timeout_seconds)

    def _move(self, to: AdapterStatus) -> None:
        if to is self.status:
            return
        if to not in TRANSITIONS[self.status]:
            raise StateConflict(
                f"The agent is {self.status} and cannot become {to}; wait until it has stopped, then start it again."
            )
        before, self.status = self.status, to
        log.info("Lifecycle changed", status=to.value, before=before.value, ending=self.ending)
        self.activity.announce()
