"""The time limit of one forwarded request: asyncio.timeout without what a request does not need of it."""

from __future__ import annotations

import asyncio


class TimeLimit:
    """Counts from `start`; when it has passed, the task that started it is cancelled, and `stop` says so."""

    __slots__ = ("_cancellations", "_has_passed", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._has_passed = False
        self._cancellations = 0
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to count, in the task that is to be limited."""
        self._task = asyncio.current_task()
        self._cancellations = self._task.cancelling() if self._task is not None else 0
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._pass)

    def stop(self, error: BaseException | None) -> bool:
        """Count no more; whether `error`, with which the task left, is the cancellation by this limit.

        As in asyncio.timeout: a cancellation by somebody else besides goes on.
        """
        if self._timer is not None:
            self._timer.cancel()
        if not self._has_passed or self._task is None:
            return False
        return self._task.uncancel() <= self._cancellations and isinstance(error, asyncio.CancelledError)

    def _pass(self) -> None:
        self._has_passed = True
        if self._task is not None:
            self._task.cancel()
