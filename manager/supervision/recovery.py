"""What one agent's crashes have led to: when its next start is due, or why there will be none."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from manager.clock import Clock
from manager.settings import RestartSettings
from manager.supervision.process import Exit
from manager.supervision.restart_policy import Decision, GiveUp, Run, decide

_RUNS_KEPT_MIN = 100
_POSTPONE_SECONDS = 0.5
_POSTPONE_MAX_SECONDS = 5.0


class Recovery:
    """Remembers runs and asks the restart policy. A fresh one, and one that was told to forget, is due at once."""

    def __init__(self, settings: RestartSettings, clock: Clock) -> None:
        self.settings = settings
        self.given_up: GiveUp | None = None
        self.next_start_at: datetime | None = None
        self._clock = clock
        self._due = 0.0
        self._runs: list[Run] = []
        self._refusals = 0

    @property
    def due(self) -> float | None:
        """Monotonic time from which on an instance may be started; None after giving up."""
        return None if self.given_up else self._due

    @property
    def is_due(self) -> bool:
        """Whether an instance may be started now."""
        return self.due is not None and self.due <= self._clock.monotonic()

    def crashed(self, started: float, exit_: Exit, *, failed: bool = False) -> Decision:
        """A process that was `started` (monotonic) ended unasked, or `failed` and was ended: decide what follows."""
        now = self._clock.monotonic()
        kept = max(_RUNS_KEPT_MIN, self.settings.max_crashes + 1)
        self._runs = [*self._runs, Run(now, now - started, exit_, failed)][-kept:]
        decision = decide(self.settings, self._runs, jitter=random.random())
        if isinstance(decision, GiveUp):
            self.give_up(decision)
        else:
            self._due = now + decision.delay_seconds
            self.next_start_at = self._clock.now() + timedelta(seconds=decision.delay_seconds)
        return decision

    def postpone(self) -> None:
        """No process came to be: try again in a while, longer each time, and for as long as it takes."""
        delay = min(_POSTPONE_SECONDS * 2.0 ** min(self._refusals, 10), _POSTPONE_MAX_SECONDS)
        self._refusals += 1
        self._due = self._clock.monotonic() + delay
        self.next_start_at = self._clock.now() + timedelta(seconds=delay)

    def give_up(self, decision: GiveUp) -> None:
        """Start no more until told to forget."""
        self.given_up = decision
        self.next_start_at = None

    def started(self) -> None:
        """An instance runs: no start is announced any more."""
        self.next_start_at = None
        self._refusals = 0

    def forget(self) -> None:
        """A person stepped in: earlier crashes no longer count."""
        self._runs.clear()
        self._refusals = 0
        self.given_up = self.next_start_at = None
        self._due = 0.0
