"""The time limit of one forwarded request: asyncio.timeout without what a request does not need of it."""

from __future__ import annotations

import asyncio

from manager.forwarding.alarms import Alarm, Alarms


class TimeLimit:
    """Counts from `start`; when it has passed, the task that started it is cancelled, and `stop` says so."""

    __slots__ = ("_alarm", "_alarms", "_cancellations", "_has_passed", "_task", "seconds")

    def __init__(self, seconds: float, alarms: Alarms) -> None:
        self.seconds = seconds
        self._alarms = alarms
        self._has_passed = False
        self._cancellations = 0
        self._task: asyncio.Task[object] | None = None
        self._alarm: Alarm | None = None

    def start(self) -> None:
        """Begin to count, in the task that is to be limited."""
        self._task = asyncio.current_task(self._alarms.loop)
        self._cancellations = self._task.cancelling() if self._task is not None else 0
        self._alarm = self._alarms.set(self.seconds, self._pass)

    def stop(self, error: BaseException | None) -> bool:
        """Count no more; whether `error`, with which the task left, is the cancellation by this limit.

        As in asyncio.timeout: a cancellation by somebody else besides goes on.
        """
        if self._alarm is not None:
            self._alarm.cancel()
        if not self._has_passed or self._task is None:
            return False
        return self._task.uncancel() <= self._cancellations and isinstance(error, asyncio.CancelledError)

    def _pass(self) -> None:
        self._has_passed = True
        if self._task is not None:
            self._task.cancel()
