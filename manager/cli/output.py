"""How everything is printed: plain lines when piped, colours on a terminal, JSON for programs."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def make_console(*, stderr: bool = False) -> Console:
    """A console that interprets nothing in what it is given. It wraps to 80 columns when piped: print softly."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def print_json(value: Any) -> None:
    """One JSON document on stdout, for people and programs."""
    print_line(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """One JSON value on one line of stdout, at once: for readers of a stream."""
    print_line(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def print_line(text: str) -> None:
    """One line on stdout, at once."""
    print(text, flush=True)  # noqa: T201


def print_error(sentence: str) -> None:
    """One line on stderr."""
    print(printable(sentence), file=sys.stderr, flush=True)  # noqa: T201


def printable(text: str) -> str:
    """`text` with control characters escaped, so that what an agent wrote cannot drive the terminal."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def duration(seconds: float) -> str:
    """`40 ms`, `1.4 s`, `27 s`, `3 min`, `5 h 12 min`, `2 d 3 h`."""
    if (milliseconds := max(0, round(seconds * 1000))) < 1000:
        return f"{milliseconds} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def local_time(moment: datetime) -> str:
    """`2026-01-02 12:00:01` in the reader's time zone."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
