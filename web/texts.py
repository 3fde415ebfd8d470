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


def milliseconds_text(value: float) -> str:
    """A latency, with the digits that matter: `3.1 ms`, `80 ms`, `1.4 s`, `95 s`."""
    if value < 9.95:
        return f"{value:.1f} ms"
    if value < 999.5:
        return f"{value:.0f} ms"
    return f"{value / 1000:.1f} s" if value < 9_950 else f"{value / 1000:.0f} s"


def rate_text(per_second: float) -> str:
    """How often something happens, by the second or, where that is rare, by the minute."""
    if per_second < 1:
        return f"{per_second * 60:.0f}/min" if per_second * 60 >= 0.5 else "< 1/min"
    return f"{per_second:.1f}/s" if per_second < 9.95 else f"{per_second:.0f}/s"


def share_text(share: float) -> str:
    """A part of a whole, which is 1: `0 %`, `0.4 %`, `12 %`; what is there is never rounded to nothing."""
    percent = share * 100
    if not percent:
        return "0 %"
    if percent < 0.1:
        return "< 0.1 %"
    return f"{percent:.1f} %" if percent < 9.95 else f"{percent:.0f} %"
