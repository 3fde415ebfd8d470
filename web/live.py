"""The fleet as HTML that moves: rendered once for all open tabs, sent to each from where it stands.

    fleet, bus ──refresh──▶ pieces (each with the version it changed in) ──stream──▶ tab, tab, tab

A tab remembers a version and is sent the pieces that are newer. So a slow tab gets the newest state rather than
a backlog, one that comes back catches up, and what an update costs does not depend on how many are open.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import structlog
from markupsafe import Markup

from agent_service.contract import rfc3339
from manager.clock import Clock
from manager.errors import StoreUnavailable
from manager.events import Event, EventBus, Subscription
from manager.supervision.fleet import Fleet
from manager.supervision.views import AgentView
from web.event_rows import event_rows
from web.rendering import AgentItem, Renderer
from web.view_models import agent_row, fleet_summary

EVENT_COUNT = 100
PACE_SECONDS = 0.25
IDLE_SECONDS = 2.0
BEAT_SECONDS = 15.0

# Exactly what ends a line of a server-sent event; str.splitlines knows more.
_LINE_END = re.compile(r"\r\n|\r|\n")

log = structlog.get_logger(__name__)


class EventReader(Protocol):
    """Where the history comes from."""

    async def recent(self, limit: int, agent_id: str | None = None) -> list[Event]:
        """The newest `limit` events, newest first. Raises `StoreUnavailable`."""
        ...


@dataclass(frozen=True)
class Piece:
    """Rendered HTML and the version in which it last changed."""

    version: int
    html: Markup


class LiveFleet:
    """Owns the pieces. `run` keeps them current while a tab is open, and ends when the bus closes."""

    def __init__(self, fleet: Fleet, events: EventReader, bus: EventBus, clock: Clock, renderer: Renderer) -> None:
        self._fleet = fleet
        self._reader = events
        self._bus = bus
        self._clock = clock
        self._renderer = renderer
        self._boot = secrets.token_hex(4)
        self._version = 0
        self._views: dict[str, AgentView] = {}
        self._rows: dict[str, Piece] = {}
        self._listed = 0
        self._summary = Piece(0, Markup())
        self._history = Piece(0, Markup())
        self._events: deque[Event] = deque(maxlen=EVENT_COUNT)
        self._events_changed = True
        self._messages: dict[int, Markup] = {}
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._tabs = 0
        self._closed = False

    @property
    def position(self) -> str:
        """Where a page that shows the current pieces stands; `stream` goes on from there."""
        return f"{self._boot}.{self._version}"

    @property
    def events(self) -> list[Event]:
        """The newest events, newest first."""
        return [*self._events]

    async def run(self) -> None:
        """Follow the bus and the fleet until the bus closes; then every stream ends. The app's lifespan owns it."""
        try:
            pace = asyncio.create_task(self._keep_pace(), name="dashboard pace")
            follow = asyncio.create_task(self._follow_bus(), name="dashboard events")
            try:
                done, _ = await asyncio.wait({pace, follow}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                pace.cancel()
                follow.cancel()
                await asyncio.gather(pace, follow, return_exceptions=True)
        finally:
            self._closed = True
            self._announce()

    def refresh(self) -> None:
        """Render what has changed since the last time, and wake the tabs if anything has."""
        fresh = self._version + 1
        views = {view.id: view for view in self._fleet.agents()}
        changed = [
            self._refresh_rows(views, fresh),
            self._refresh_summary(views, fresh),
            self._refresh_history(fresh),
        ]
        if any(changed):
            self._version = fresh
            self._messages.clear()
            self._announce()

    def row(self, agent_id: str) -> Markup:
        """The live part of one agent's row, as a fragment that finds its own place; empty for an unknown id."""
        piece = self._rows.get(agent_id)
        return self._row_partial(agent_id, piece) if piece else Markup()

    def everything(self) -> Markup:
        """All pieces, as fragments that find their own places."""
        return self._since(-1)

    async def stream(self, position: str | None) -> AsyncIterator[str]:
        """Server-sent events for one tab, from `position` on; of another run of the manager, everything.

        Unnamed events carry fragments; a `beat` with the server's time comes every 15 s, so that the tab can
        tell a quiet fleet from a dead connection and a wrong clock of its own from a late heartbeat.
        """
        self.refresh()
        seen = self._version_at(position)
        self._tabs += 1
        try:
            yield _event(rfc3339(self._clock.now()), name="beat")
            while not self._closed:
                news = self._changed
                if seen < self._version:
                    message = self._since(seen)
                    seen = self._version
                    yield _event(message, id=f"{self._boot}.{seen}")
                elif not await _happens(news, BEAT_SECONDS):
                    yield _event(rfc3339(self._clock.now()), name="beat")
        finally:
            self._tabs -= 1

    async def _follow_bus(self) -> None:
        while True:
            with self._bus.subscribe() as subscription:
                await self._read_history()
                await self._record(subscription)
                if not subscription.lagged:
                    return

    async def _read_history(self) -> None:
        try:
            recent = await self._reader.recent(EVENT_COUNT)
        except StoreUnavailable as error:
            log.warning("Event history is not readable; the dashboard shows new events only", error=error.detail)
            return
        if recent != self.events:
            self._events.clear()
            self._events.extend(recent)
            self._note_events()

    async def _record(self, subscription: Subscription) -> None:
        async for event in subscription:
            # What was published between subscribing and reading the history came both ways.
            if not self._events or event.id > self._events[0].id:
                self._events.appendleft(event)
                self._note_events()

    def _note_events(self) -> None:
        self._events_changed = True
        self._wake.set()

    async def _keep_pace(self) -> None:
        while True:
            await _happens(self._wake, IDLE_SECONDS)
            self._wake.clear()
            if self._tabs:
                self.refresh()
            await asyncio.sleep(PACE_SECONDS)

    def _refresh_rows(self, views: dict[str, AgentView], fresh: int) -> bool:
        changed = [view for view in views.values() if self._views.get(view.id) != view]
        relisted = list(views) != list(self._views)
        now = self._clock.now()
        for view in changed:
            self._rows[view.id] = Piece(fresh, self._renderer.live(agent_row(view, now)))
        for gone in self._rows.keys() - views.keys():
            del self._rows[gone]
        self._listed = fresh if relisted or self._version == 0 else self._listed
        self._views = views
        return bool(changed) or relisted or self._version == 0

    def _refresh_summary(self, views: dict[str, AgentView], fresh: int) -> bool:
        summary = fleet_summary([*views.values()])
        html = self._renderer.partial("summary", self._renderer.summary(summary)) + self._renderer.title(summary)
        changed = html != self._summary.html
        if changed:
            self._summary = Piece(fresh, html)
        return changed

    def _refresh_history(self, fresh: int) -> bool:
        changed = self._events_changed
        if changed:
            self._events_changed = False
            rows = event_rows(self._events, self._clock.now())
            self._history = Piece(fresh, self._renderer.partial("events", self._renderer.events(rows)))
        return changed

    def _since(self, seen: int) -> Markup:
        """What is newer than version `seen`; rendered for the first tab that stands there, kept for the others."""
        if seen not in self._messages:
            self._messages[seen] = self._render_since(seen)
        return self._messages[seen]

    def _render_since(self, seen: int) -> Markup:
        parts = [piece.html for piece in (self._summary, self._history) if piece.version > seen]
        if self._listed > seen:
            items = [AgentItem(view.id, view.name, self._rows[view.id].html) for view in self._views.values()]
            parts.append(self._renderer.partial("fleet", self._renderer.agents(items)))
        else:
            parts += [self._row_partial(key, row) for key, row in self._rows.items() if row.version > seen]
        return Markup("\n").join(parts)

    def _row_partial(self, agent_id: str, piece: Piece) -> Markup:
        return self._renderer.partial(f"live-{agent_id}", piece.html, outer=True)

    def _version_at(self, position: str | None) -> int:
        boot, _, version = (position or "").partition(".")
        return int(version) if boot == self._boot and version.isdecimal() else -1

    def _announce(self) -> None:
        news, self._changed = self._changed, asyncio.Event()
        news.set()


async def _happens(event: asyncio.Event, seconds: float) -> bool:
    """Whether `event` is set within so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def _event(data: str, *, name: str | None = None, id: str | None = None) -> str:
    lines = [f"event: {name}"] if name else []
    lines += [f"id: {id}"] if id else []
    lines += [f"data: {line}" for line in _LINE_END.split(data)]
    return "\n".join(lines) + "\n\n"
