"""Times as people write them in a query: a moment, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from manager.errors import BadRequest

WRITTEN = "an age such as 10m, 2h or 7d, or a time such as 2026-01-02T03:04:05Z"

_AGE = re.compile(r"(\d{1,9})([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def read_moment(name: str, text: str | None, now: datetime) -> datetime | None:
    """The moment that the parameter `name` tells, in UTC; None where it is empty. Without a zone it is UTC.

    Raises `BadRequest`.
    """
    if not text:
        return None
    try:
        if age := _AGE.fullmatch(text):
            return now - timedelta(seconds=int(age[1]) * _UNIT_SECONDS[age[2]])
        # A plus sign that was not escaped arrives as a space.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRequest(f"{name} is {text[:40]!r}; give {WRITTEN}.") from None
