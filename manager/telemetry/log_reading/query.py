"""What of the logs is asked for, out of the parameters of a request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from manager.errors import BadRequest
from manager.moments import read_moment
from manager.telemetry.log_reading.entry import LEVELS

DEFAULT_LINES = 200
MAX_LINES = 10_000
MAX_TEXT_CHARACTERS = 1000

Order = Literal["newest", "oldest"]


class Parameters(Protocol):
    """Starlette's query parameters, or anything like them."""

    def get(self, key: str, /) -> str | None: ...


@dataclass(frozen=True)
class LogQuery:
    """Every criterion that is set must hold. `level`: this one and graver.

    `text` is looked for in any case of its letters, `regex` as it is. `cursor`: where an earlier page ended.
    `order`: newest, the newest lines that match; oldest, the first of them.
    """

    agents: tuple[str, ...]
    lines: int = DEFAULT_LINES
    since: datetime | None = None
    until: datetime | None = None
    level: str | None = None
    instance: str | None = None
    request: str | None = None
    trace: str | None = None
    task: str | None = None
    text: str | None = None
    regex: str | None = None
    cursor: str | None = None
    order: Order = "newest"


def read_query(parameters: Parameters, *, agents: Iterable[str], now: datetime, fewest: int = 1) -> LogQuery:
    """The query that the parameters ask for. Raises `BadRequest`, which names the one that is wrong."""
    return LogQuery(
        agents=tuple(dict.fromkeys(agents)),
        lines=_lines(parameters.get("lines"), fewest),
        since=read_moment("since", parameters.get("since"), now),
        until=read_moment("until", parameters.get("until"), now),
        level=_choice("level", parameters.get("level"), LEVELS),
        instance=_text("instance", parameters.get("instance")),
        request=_text("request", parameters.get("request")),
        trace=_text("trace", parameters.get("trace")),
        task=_text("task", parameters.get("task")),
        text=_text("text", parameters.get("text")),
        regex=_text("regex", parameters.get("regex")),
        cursor=parameters.get("cursor") or None,
        order="oldest" if _choice("order", parameters.get("order"), ("newest", "oldest")) == "oldest" else "newest",
    )


def _lines(text: str | None, fewest: int) -> int:
    if text is None:
        return DEFAULT_LINES
    if not (text.isascii() and text.isdigit() and len(text) < 10 and fewest <= int(text) <= MAX_LINES):
        raise BadRequest(f"lines is {text[:40]!r}; give a whole number from {fewest} to {MAX_LINES}.")
    return int(text)


def _choice(name: str, text: str | None, allowed: Sequence[str]) -> str | None:
    if not text:
        return None
    if text not in allowed:
        raise BadRequest(f"{name} is {text[:40]!r}; give one of {', '.join(allowed)}.")
    return text


def _text(name: str, text: str | None) -> str | None:
    if text is not None and len(text) > MAX_TEXT_CHARACTERS:
        raise BadRequest(f"{name} has {len(text)} characters; give at most {MAX_TEXT_CHARACTERS}.")
    return text or None
