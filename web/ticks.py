"""Moments whose text goes on while one looks at it; `static/ticking.js` keeps it current."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agent_service.contract import rfc3339
from web.texts import age_text, left_text


class TickKind(StrEnum):
    """Whether a moment's text counts up (`age`) or down (`left`)."""

    AGE = "age"
    LEFT = "left"


@dataclass(frozen=True)
class Tick:
    """A moment; `text` is what it says now."""

    kind: TickKind
    at: str
    text: str


def age(moment: datetime, now: datetime) -> Tick:
    """How long ago that was."""
    return Tick(TickKind.AGE, rfc3339(moment), age_text((now - moment).total_seconds()))


def left(moment: datetime, now: datetime) -> Tick:
    """How long it is until then."""
    return Tick(TickKind.LEFT, rfc3339(moment), left_text((moment - now).total_seconds()))


def age_or_none(moment: datetime | None, now: datetime) -> Tick | None:
    """The same of a moment that may not have been."""
    return None if moment is None else age(moment, now)


def left_or_none(moment: datetime | None, now: datetime) -> Tick | None:
    """The same of a moment that may not be to come."""
    return None if moment is None else left(moment, now)
