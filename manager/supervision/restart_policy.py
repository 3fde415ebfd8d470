"""Start now, start later, or give up: a pure function of how the agent's processes ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import median

from manager.settings import RestartSettings
from manager.supervision.process import Exit

_WINDOW_MIN_SECONDS = 60.0
_WINDOW_MAX_SECONDS = 6 * 3600.0


@dataclass(frozen=True)
class Run:
    """One process that ended without being asked to. Seconds; `ended_at` is monotonic."""

    ended_at: float
    lifetime: float
    exit: Exit
    failed: bool = False
    """We ended it because it did not do what it should: a crash, whatever status it left with."""

    @property
    def crashed(self) -> bool:
        """Anything but status 0 of its own accord."""
        return self.failed or self.exit.code != 0


@dataclass(frozen=True)
class Restart:
    """Start again after `delay_seconds` (0: at once)."""

    delay_seconds: float
    attempt: int


@dataclass(frozen=True)
class GiveUp:
    """Leave it down. `failed`: a person must mend something; else it simply ended and is not wanted back."""

    reason: str
    failed: bool
    exit: Exit | None = None
    """The exit that the reason names."""

    def told_after(self, last_exit: str | None) -> str:
        """The reason together with how the newest process ended, which says what the exit was and more."""
        if last_exit is None or last_exit in self.reason:
            return self.reason
        if self.exit is not None and str(self.exit) in last_exit:
            told = last_exit if self.reason.endswith(str(self.exit)) else last_exit.rstrip(".")
            return self.reason.replace(str(self.exit), told)
        return f"{self.reason} ({last_exit})"


Decision = Restart | GiveUp


def decide(settings: RestartSettings, runs: Sequence[Run], *, jitter: float) -> Decision:
    """What follows the end of the newest of `runs` (oldest first, at least one). `jitter` is from 0 to 1."""
    newest = runs[-1]
    if newest.exit.code is not None and newest.exit.code in settings.do_not_retry_exit_codes:
        return GiveUp(f"a restart cannot help: {newest.exit}", failed=True, exit=newest.exit)
    if settings.policy == "never" or (settings.policy == "on-failure" and not newest.crashed):
        reason = f"{newest.exit}; its restart policy is {settings.policy!r}"
        return GiveUp(reason, failed=newest.crashed, exit=newest.exit)
    loop = _crash_loop(runs, more_than=settings.max_crashes)
    if loop is not None:
        return GiveUp(f"{loop}, last: {newest.exit}", failed=True, exit=newest.exit)
    attempt = _attempt(settings, runs)
    return Restart(_delay(settings, attempt, jitter), attempt)


def _crash_loop(runs: Sequence[Run], *, more_than: int) -> str | None:
    """Says so where the newest crashes came within a window that scales with how long such processes live.

    What counts is the time for which they lived, so that no waiting in between stretches a loop out of its window. A
    fixed window would miss processes that live a little longer than it; the median keeps one long life among short
    ones from hiding a loop, or from making one.
    """
    crashes = [run for run in runs if run.crashed][-(more_than + 1) :]
    if len(crashes) <= more_than:
        return None
    lived = sum(run.lifetime for run in crashes)
    typical = median(run.lifetime for run in crashes)
    window = min(max(_WINDOW_MIN_SECONDS, 2 * len(crashes) * typical), _WINDOW_MAX_SECONDS)
    span = crashes[-1].ended_at - crashes[0].ended_at
    return f"crash loop: {len(crashes)} crashes within {span:.1f} s" if lived <= window else None


def _attempt(settings: RestartSettings, runs: Sequence[Run]) -> int:
    """The newest run's place in its series; a run that was healthy for long enough begins a new one."""
    unhealthy = list(takewhile(lambda run: run.lifetime < settings.healthy_after_seconds, reversed(runs)))
    return min(len(unhealthy) + 1, len(runs))


def _delay(settings: RestartSettings, attempt: int, jitter: float) -> float:
    if attempt == 1:
        return 0.0
    doubled: float = settings.initial_delay_seconds * 2.0 ** min(attempt - 2, 60)
    return min(doubled * (0.75 + jitter / 2), settings.max_delay_seconds)
