"""Timers for requests, nearly all of which end before any of them rings.

A timer of the event loop's own costs each request more than finding its instance does. Those of one length ring in the
order in which they were set, so that the loop needs one timer for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarms:
    """For one event loop: that in which the first is set."""

    def __init__(self) -> None:
        self._lines: dict[float, _Line] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running one. To find it out takes a system call in Python 3.11, so that is done once."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def set(self, seconds: float, ring: Callable[[], object]) -> Alarm:
        """Call `ring` after so many seconds. There should be few different lengths: each is kept."""
        line = self._lines.get(seconds)
        if line is None:
            line = self._lines[seconds] = _Line()
        loop = self.loop
        alarm = Alarm(line, loop.time() + seconds, ring)
        line.waiting[alarm] = None
        if line.timer is None:
            line.timer = loop.call_at(alarm.at, line.ring)
        return alarm


class Alarm:
    """One that was set. `at`: in the loop's time."""

    __slots__ = ("_line", "at", "ring")

    def __init__(self, line: _Line, at: float, ring: Callable[[], object]) -> None:
        self._line = line
        self.at = at
        self.ring = ring

    def cancel(self) -> None:
        """It does not ring any more."""
        self._line.waiting.pop(self, None)


class _Line:
    """All of one length, in the order in which they were set."""

    def __init__(self) -> None:
        self.waiting: dict[Alarm, None] = {}
        self.timer: asyncio.TimerHandle | None = None

    def ring(self) -> None:
        """Let those ring whose time has come, and come again for the next."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        due = []
        self.timer = None
        for alarm in self.waiting:
            if alarm.at > now:
                self.timer = loop.call_at(alarm.at, self.ring)
                break
            due.append(alarm)
        for alarm in due:
            alarm.cancel()
            alarm.ring()
