"""Server-sent events out of a byte stream (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ServerSentEvent:
    """One event; `data` is text."""

    event: str
    data: str
    id: str | None = None


def parse_events(blocks: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    """Each complete event; comments, unknown fields and an event cut off by the end are dropped."""
    fields: dict[str, str] = {}
    for line in _lines(blocks):
        if line:
            _add(fields, line)
        elif "data" in fields:
            yield ServerSentEvent(fields.get("event") or "message", fields["data"], fields.get("id"))
            fields = {}
        else:
            fields = {}


def _add(fields: dict[str, str], line: str) -> None:
    name, _, value = line.partition(":")
    value = value.removeprefix(" ")
    if name == "data" and "data" in fields:
        fields["data"] += "\n" + value
    elif name:
        fields[name] = value


def _lines(blocks: Iterable[bytes]) -> Iterator[str]:
    # Not str.splitlines: JSON text may hold U+2028 and its like, which end no line here.
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
