"""One agent: everything that is known about it, its last hour, and a place to try it."""

from __future__ import annotations

import json
from typing import Protocol

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from agent_service.contract import DefinitionSummary, ThreadPage
from manager.clock import Clock
from manager.errors import ManagerError, StateConflict
from manager.event_filter import EventFilter
from manager.supervision.fleet import Fleet
from manager.supervision.states import AgentState
from manager.supervision.views import AgentView
from web.agent_actions import agent_actions
from web.charts import chart
from web.definition_rows import definition_text, thread_rows
from web.event_rows import event_rows
from web.examples import curl, example_of
from web.hour_charts import AGENT_FIGURES
from web.pages.answers import html
from web.pages.config import ConfigReloader
from web.pages.events import EventHistory
from web.pages.frame import Endpoint, Frame
from web.pages.metrics import SeriesReader
from web.rendering import Renderer
from web.setting_rows import Settings, agent_rows
from web.view_models import agent_row

EVENTS_SHOWN = 50
THREADS_SHOWN = 20
_TAKES_WORK = (AgentState.RUNNING, AgentState.STARTING, AgentState.BACKOFF)


class Introspection(Protocol):
    """What an agent says of itself; `manager.supervision.introspection.Introspection` is one."""

    async def definition(self, agent_id: str) -> DefinitionSummary | None: ...

    async def threads(self, agent_id: str, *, limit: int = 50) -> ThreadPage: ...


class AgentPages:
    """One page, and fragments of it that keep themselves current."""

    def __init__(
        self,
        frame: Frame,
        fleet: Fleet,
        history: EventHistory,
        series: SeriesReader,
        introspection: Introspection,
        reloader: ConfigReloader,
        renderer: Renderer,
        clock: Clock,
    ) -> None:
        self._frame = frame
        self._fleet = fleet
        self._history = history
        self._series = series
        self._introspection = introspection
        self._reloader = reloader
        self._renderer = renderer
        self._clock = clock

    def routes(self) -> list[BaseRoute]:
        """What this module serves."""
        parts = {
            "overview": self.overview,
            "charts": self.charts,
            "definition": self.definition,
            "timeline": self.timeline,
        }
        return [
            Route("/agents/{agent_id}", self._about(self.show), methods=["GET"]),
            *(
                Route(f"/ui/agents/{{agent_id}}/{name}", self._about(part), methods=["GET"])
                for name, part in parts.items()
            ),
        ]

    async def show(self, request: Request) -> Response:
        """The page. What only the agent's process knows comes after it, or, with `all` in the query, within."""
        view = self._view(request)
        content = self._renderer.render(
            "agent.html",
            page=self._frame.context("fleet"),
            view=view,
            row=agent_row(view, self._clock.now()),
            actions=self._renderer.render("actions.html", actions=agent_actions(view)),
            overview=self._overview(view),
            charts=self._charts(view.id),
            timeline=await self._timeline(view.id),
            spec=self._spec(view.id),
            definition=await self._definition(view) if "all" in request.query_params else None,
            example=json.dumps(example_of(view.description), indent=2, ensure_ascii=False),
            curl=curl(
                str(request.base_url), view.id, example_of(view.description), with_token=self._frame.asks_for_token
            ),
            asks_for_token=self._frame.asks_for_token,
        )
        return html(content)

    async def overview(self, request: Request) -> Response:
        """How it is now."""
        return html(self._overview(self._view(request)))

    async def charts(self, request: Request) -> Response:
        """Its last hour."""
        return html(self._charts(self._view(request).id))

    async def timeline(self, request: Request) -> Response:
        """Its newest events."""
        return html(await self._timeline(self._view(request).id))

    async def definition(self, request: Request) -> Response:
        """What only its own process knows."""
        return html(await self._definition(self._view(request)))

    def _about(self, endpoint: Endpoint) -> Endpoint:
        async def found(request: Request) -> Response:
            try:
                return await endpoint(request)
            except ManagerError as error:
                return self._frame.refused(request, "Nothing to show", error)

        return self._frame.guarded(found)

    def _view(self, request: Request) -> AgentView:
        return self._fleet.agent(request.path_params["agent_id"])

    def _overview(self, view: AgentView) -> Markup:
        row = agent_row(view, self._clock.now())
        takes_work = view.state in _TAKES_WORK or (not view.managed and view.ready)
        return self._renderer.render("agent_overview.html", view=view, row=row, takes_work=takes_work)

    def _charts(self, agent_id: str) -> Markup:
        series = self._series.of(agent_id)
        return self._renderer.render("agent_charts.html", charts=[chart(figure, series) for figure in AGENT_FIGURES])

    async def _timeline(self, agent_id: str) -> Markup:
        found = await self._history.page(EventFilter(agent_id=agent_id), limit=EVENTS_SHOWN)
        rows = event_rows(reversed(found.events), self._clock.now())
        return self._renderer.render("history_rows.html", events=rows, with_agent=False)

    async def _definition(self, view: AgentView) -> Markup:
        now, summary, threads, why = self._clock.now(), None, None, None
        try:
            summary = await self._introspection.definition(view.id)
            if summary is not None and summary.memory == "thread":
                threads = thread_rows(await self._introspection.threads(view.id, limit=THREADS_SHOWN), now)
        except StateConflict:
            pass
        except ManagerError as error:
            why = error.detail
        told = None if summary is None else definition_text(summary, now)
        return self._renderer.render("agent_definition.html", view=view, definition=told, threads=threads, why=why)

    def _spec(self, agent_id: str) -> Settings | None:
        """What its config says; None for an agent from elsewhere."""
        running = self._reloader.running
        found = next((agent for agent in running.agents if agent.id == agent_id), None)
        return None if found is None else agent_rows(found, running.runtime)
