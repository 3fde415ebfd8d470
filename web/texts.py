"""How the dashboard writes quantities. `static/ticking.js` writes ages and countdowns by the same rules."""

from __future__ import annotations

from math import ceil

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MIB = 1024**2
GIB = 1024**3


def age_text(seconds: float) -> str:
    """A duration that has passed, in one or two units: `42 s`, `3 min`, `2 h 5 min`, `4 d 1 h`."""
    whole = max(0, int(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def left_text(seconds: float) -> str:
    """A duration still to come, rounded up and to the second below one hour: `27 s`, `1 min 30 s`."""
    whole = max(0, ceil(seconds))
    if MINUTE <= whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return age_text(whole)


def bytes_text(size: int) -> str:
    """Memory in MiB, from 1 GiB on in GiB."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"


def percent_text(value: float) -> str:
    """CPU use; 100 % is one core."""
    return f"{value:.1f} %" if value < 10 else f"{value:.0f} %"


def count_text(count: int, noun: str) -> str:
    """`1 agent`, `2 agents`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
