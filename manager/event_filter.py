"""Which events are asked for; the store puts the same conditions as SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent_service.contract import rfc3339
from manager.events import Event


@dataclass(frozen=True)
class EventFilter:
    """All conditions hold at once; the empty filter lets everything pass.

    `kinds` are topics: kinds of events, and states for the changes into them. `actor` is the whole name, `text` stands
    in the message or the reason, whatever the case of its ASCII letters. `since` is included, `until` is not.
    """

    agent_id: str | None = None
    kinds: frozenset[str] = frozenset()
    actor: str | None = None
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, event: Event) -> bool:
        """Whether all conditions hold for the event."""
        return (
            self.agent_id in (None, event.agent_id)
            and self.actor in (None, event.actor)
            and (not self.kinds or not self.kinds.isdisjoint({event.kind.value, event.topic}))
            and self._in_time(event)
            and self._has_text(event)
        )

    def _in_time(self, event: Event) -> bool:
        # Compared as they are kept: to the millisecond.
        at = rfc3339(event.at)
        return (self.since is None or at >= rfc3339(self.since)) and (self.until is None or at < rfc3339(self.until))

    def _has_text(self, event: Event) -> bool:
        wanted = _folded(self.text or "")
        return any(wanted in _folded(place) for place in (event.message, event.reason or ""))


EVERYTHING = EventFilter()


def _folded(text: str) -> bytes:
    """Without the case of ASCII letters, as SQLite's lower() has it."""
    return text.encode("utf-8", "surrogatepass").lower()
