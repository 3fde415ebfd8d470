"""The fleet as HTML that moves: rendered once for all open tabs, sent to each from where it stands.

    fleet, bus ──refresh──▶ pieces (each with the version it changed in) ──stream──▶ tab, tab, tab

A tab remembers a version and is sent the pieces that are newer. So a slow tab gets the newest state rather than
a backlog, one that comes back catches up, and what an update costs does not depend on how many are open. The home
page is sent its HTML; every other page the header's, and the names of what has changed, for which it asks itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator
from typing import Protocol

import structlog
from markupsafe import Markup

from agent_service.contract import rfc3339
from manager.clock import Clock
from manager.errors import StoreUnavailable
from manager.events import Event, EventBus, Subscription
from web.figures import FigureReader, SeriesReader
from web.fleet_pieces import EVENT_COUNT, FleetPieces, Listing, joined
from web.rendering import Renderer

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


class LiveFleet:
    """Keeps the pieces current while a tab is open: `run` ends when the bus closes, and every stream with it."""

    def __init__(
        self, fleet: Listing, events: EventReader, series: SeriesReader, bus: EventBus, clock: Clock, renderer: Renderer
    ) -> None:
        self.pieces = FleetPieces(fleet, FigureReader(series, clock), clock, renderer)
        self._reader = events
        self._bus = bus
        self._clock = clock
        self._boot = secrets.token_hex(4)
        self._messages: dict[tuple[int, bool], str] = {}
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._tabs = 0
        self._closed = False

    @property
    def position(self) -> str:
        """Where a page that shows the current pieces stands; `stream` goes on from there."""
        return f"{self._boot}.{self.pieces.version}"

    @property
    def tabs(self) -> int:
        """How many streams are open."""
        return self._tabs

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
        if self.pieces.refresh():
            self._messages.clear()
            self._announce()

    def everything(self, *, home: bool) -> Markup:
        """What a new stream would tell first, as fragments that find their own places."""
        return joined(self._parts(-1, home))

    async def stream(self, position: str | None, *, home: bool) -> AsyncIterator[str]:
        """Server-sent events for one tab, from `position` on; of another run of the manager, everything.

        Unnamed events carry fragments, `changed` the names of what is new; a `beat` with the server's time comes
        every 15 s, so that the tab can tell a quiet fleet from a dead connection and a wrong clock of its own from
        a late heartbeat.
        """
        self.refresh()
        seen = self._version_at(position)
        self._tabs += 1
        try:
            yield self._beat()
            while not self._closed:
                news = self._changed
                if seen < self.pieces.version:
                    message = self._message_since(seen, home)
                    seen = self.pieces.version
                    yield message
                elif not await _happens(news, BEAT_SECONDS):
                    yield self._beat()
        finally:
            self._tabs -= 1

    async def ended(self) -> None:
        """Wait until every stream ends, because the manager does."""
        while not self._closed:
            await self._changed.wait()

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
        events = self.pieces.events
        if recent != [*events]:
            events.clear()
            events.extend(recent)
            self._note_events()

    async def _record(self, subscription: Subscription) -> None:
        events = self.pieces.events
        async for event in subscription:
            # What was published between subscribing and reading the history came both ways.
            if not events or event.id > events[0].id:
                events.appendleft(event)
                self._note_events()

    def _note_events(self) -> None:
        self.pieces.note_events()
        self._wake.set()

    async def _keep_pace(self) -> None:
        while True:
            await _happens(self._wake, IDLE_SECONDS)
            self._wake.clear()
            if self._tabs:
                self.refresh()
            await asyncio.sleep(PACE_SECONDS)

    def _message_since(self, seen: int, home: bool) -> str:
        """What is newer than version `seen`; put together for the first tab that stands there, kept for the others."""
        key = seen, home
        if key not in self._messages:
            # The id comes last: a tab that lost the connection in between is sent both again.
            parts = joined(self._parts(seen, home))
            names = _event(self.pieces.names_since(seen), name="changed")
            self._messages[key] = names + _event(parts, id=self.position)
        return self._messages[key]

    def _parts(self, seen: int, home: bool) -> list[Markup]:
        return self.pieces.header_since(seen) + (self.pieces.home_since(seen) if home else [])

    def _beat(self) -> str:
        return _event(rfc3339(self._clock.now()), name="beat")

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
