"""The fleet as HTML, in pieces that each remember when they last changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from markupsafe import Markup

from manager.clock import Clock
from manager.events import Event
from manager.supervision.views import AgentView
from web.arrangement import Arrangement
from web.event_rows import event_rows
from web.figures import FigureReader, Figures
from web.health import fleet_health, fleet_vitals, state_counts
from web.rendering import Renderer
from web.view_models import FleetSummary, agent_row, fleet_summary

EVENT_COUNT = 40
EVERYTHING = "*"


@dataclass(frozen=True)
class Piece:
    """Rendered HTML and the version in which it last changed."""

    version: int
    html: Markup


@dataclass(frozen=True)
class ArrangedRows:
    """Every agent's row by its id, and how many of them are not hidden."""

    rows: dict[str, Markup]
    shown: int


_NOTHING = Piece(0, Markup())
_ROW = '<div role="row"'


class Listing(Protocol):
    """Who is asked for the agents: `manager.supervision.fleet.Fleet`."""

    def agents(self) -> list[AgentView]:
        """Every known agent."""
        ...


class FleetPieces:
    """Owns them; `refresh` brings them up to date, and the other methods only read."""

    def __init__(self, fleet: Listing, figures: FigureReader, clock: Clock, renderer: Renderer) -> None:
        self.version = 0
        self.events: deque[Event] = deque(maxlen=EVENT_COUNT)
        self._fleet = fleet
        self._reader = figures
        self._clock = clock
        self._renderer = renderer
        self._views: dict[str, AgentView] = {}
        self._figures: dict[str, Figures] = {}
        self._rows: dict[str, Piece] = {}
        self._overview: dict[str, Piece] = {}
        self._history = _NOTHING
        self._summary = fleet_summary([])
        self._headline = _NOTHING
        self._title = _NOTHING
        self._listed = 0
        self._events_changed = True

    @property
    def summary(self) -> FleetSummary:
        """The header's sentence."""
        return self._summary

    def note_events(self) -> None:
        """`events` has changed."""
        self._events_changed = True

    def refresh(self) -> bool:
        """Render what has changed since the last time; whether anything has."""
        fresh = self.version + 1
        views = {view.id: view for view in self._fleet.agents()}
        changed = [
            self._refresh_rows(views, fresh),
            self._refresh_headline(fresh),
            self._refresh_overview(fresh),
            self._refresh_history(fresh),
        ]
        if any(changed):
            self.version = fresh
        return any(changed)

    @property
    def title(self) -> Markup:
        """The home page's title: what a person sees of a tab that is not in front."""
        return self._title.html

    def rows(self) -> dict[str, Markup]:
        """Every agent's row by its id, in the order of the fleet."""
        return {agent_id: self._rows[agent_id].html for agent_id in self._views}

    def arranged(self, arrangement: Arrangement) -> ArrangedRows:
        """The same in the order and with those hidden that the page's address says."""
        order = arrangement.in_order(self._views, self._figures)
        shown = {agent_id for agent_id, view in self._views.items() if arrangement.shows(view)}
        rows = {key: self._rows[key].html if key in shown else _hidden(self._rows[key].html) for key in order}
        return ArrangedRows(rows, len(shown))

    def chips(self, state: str) -> Markup:
        """The section of that name, with the chip of `state` pressed."""
        views = [*self._views.values()]
        return self._renderer.render("chips.html", total=len(views), counts=state_counts(views), pressed=state)

    def row(self, agent_id: str) -> Markup:
        """One agent's row, as a fragment that finds its own place; empty for an unknown id."""
        piece = self._rows.get(agent_id)
        return self._row_partial(agent_id, piece) if piece else Markup()

    def section(self, name: str) -> Markup:
        """A part of the home page: `health`, `vitals`, `chips`, or `events`."""
        return self._history.html if name == "events" else self._overview[name].html

    def header_since(self, seen: int) -> list[Markup]:
        """What is newer than version `seen` of that which every page shows."""
        return [self._partial("summary", self._headline.html)] if self._headline.version > seen else []

    def home_since(self, seen: int) -> list[Markup]:
        """The same of the home page."""
        parts = [self._title.html] if self._title.version > seen else []
        sections = {**self._overview, "events": self._history}
        parts += [self._partial(name, piece.html) for name, piece in sections.items() if piece.version > seen]
        if self._listed > seen:
            return [*parts, self._partial("fleet", self._renderer.render("rows.html", rows=[*self.rows().values()]))]
        return parts + [self._row_partial(key, row) for key, row in self._rows.items() if row.version > seen]

    def names_since(self, seen: int) -> str:
        """What has changed after version `seen`, for fragments that fetch themselves."""
        if seen < 0:
            return EVERYTHING
        agents = [f"agent:{key}" for key, row in self._rows.items() if row.version > seen]
        names = ["fleet"] if agents or self._listed > seen else []
        names += ["events"] if self._history.version > seen else []
        return " ".join(names + agents)

    def _refresh_rows(self, views: dict[str, AgentView], fresh: int) -> bool:
        figures = self._reader.current()
        now = self._clock.now()
        relisted = list(views) != list(self._views) or self.version == 0
        changed = False
        for key, view in views.items():
            if self._views.get(key) != view or self._figures.get(key) != figures[key]:
                self._rows[key] = Piece(fresh, self._renderer.row(agent_row(view, now, figures[key])))
                changed = True
        for gone in self._rows.keys() - views.keys():
            del self._rows[gone]
        self._listed = fresh if relisted else self._listed
        self._views = views
        self._figures = {key: figures[key] for key in views}
        return changed or relisted

    def _refresh_headline(self, fresh: int) -> bool:
        self._summary = fleet_summary([*self._views.values()])
        headline = self._renderer.summary(self._summary)
        title = self._renderer.title(self._summary)
        self._title = _renewed(self._title, title, fresh)
        self._headline = _renewed(self._headline, headline, fresh)
        return fresh in (self._headline.version, self._title.version)

    def _refresh_overview(self, fresh: int) -> bool:
        views = [*self._views.values()]
        rendered = {
            "health": self._renderer.render("health.html", health=fleet_health(views)),
            "vitals": self._renderer.render("vitals.html", vitals=fleet_vitals(views, self._figures)),
            "chips": self.chips(""),
        }
        self._overview = {
            name: _renewed(self._overview.get(name, _NOTHING), html, fresh) for name, html in rendered.items()
        }
        return any(piece.version == fresh for piece in self._overview.values())

    def _refresh_history(self, fresh: int) -> bool:
        changed, self._events_changed = self._events_changed, False
        if changed:
            rows = event_rows(self.events, self._clock.now())
            self._history = Piece(fresh, self._renderer.render("latest_events.html", events=rows))
        return changed

    def _row_partial(self, agent_id: str, piece: Piece) -> Markup:
        return self._renderer.partial(f"agent-{agent_id}", piece.html, outer=True)

    def _partial(self, target: str, html: Markup) -> Markup:
        return self._renderer.partial(target, html)


def joined(parts: Iterable[Markup]) -> Markup:
    """Fragments one after the other."""
    return Markup("\n").join(parts)


def _hidden(row: Markup) -> Markup:
    # Made from the row that is there: with hundreds of agents rendering each anew takes too long.
    return Markup(str(row).replace(_ROW, f"{_ROW} hidden", 1))


def _renewed(piece: Piece, html: Markup, fresh: int) -> Piece:
    return piece if piece.html == html else Piece(fresh, html)
