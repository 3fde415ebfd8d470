"""The fleet: the page, its live stream, and what is done with a row's buttons or a selection's."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from markupsafe import Markup
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from agent_service.contract import EVENT_STREAM_MEDIA_TYPE
from manager.actor import actor_of
from manager.clock import Clock
from manager.errors import BadRequest, ManagerError
from manager.supervision.fleet import Fleet
from web.agent_actions import BULK_BUTTONS, action_label, agent_actions
from web.arrangement import BY_NAME, Arrangement
from web.commands import Command, give_all
from web.live import LiveFleet
from web.pages.answers import PAGE_HEADERS, form_pairs, from_htmx, html
from web.pages.frame import ACTOR, Frame
from web.rendering import Outcome, Renderer
from web.view_models import agent_row

HOME = "fleet"
SECTIONS = ("health", "vitals", "chips", "events")


@dataclass(frozen=True)
class Column:
    """A column that rows can be sorted by; `by` is how the page's address calls it."""

    key: str
    by: str
    title: str
    hint: str


COLUMNS = (
    Column("name", BY_NAME, "Agent", "Sort by name"),
    Column("state", "0", "State", "Sort by how much attention the state wants"),
    Column("reach", "1", "Reachable", "Sort by the last heartbeat"),
    Column("process", "2", "PID, port", "Sort by process id"),
    Column("restarts", "3", "Restarts", "Sort by the number of restarts"),
    Column("work", "4", "In flight", "Sort by tasks in flight and queued"),
    Column("latency", "5", "p50 / p95", "Sort by the latency of 95 of 100 requests, last five minutes"),
    Column("errors", "6", "Errors", "Sort by the share of failed requests, last five minutes"),
    Column("cpu", "7", "CPU", "Sort by CPU; 100 % is one core"),
    Column("memory", "8", "Memory", "Sort by resident memory"),
)


_AS_LISTED = Arrangement()


class FleetPages:
    """Who is there, how they are, and what is to be done about it."""

    def __init__(self, frame: Frame, fleet: Fleet, live: LiveFleet, renderer: Renderer, clock: Clock) -> None:
        self._frame = frame
        self._fleet = fleet
        self._live = live
        self._renderer = renderer
        self._clock = clock

    def routes(self) -> list[BaseRoute]:
        """What this module serves."""
        guarded = self._frame.guarded
        smaller = [Middleware(GZipMiddleware, compresslevel=5)]
        return [
            Route("/", self.home, methods=["GET"], middleware=smaller),
            Route("/ui/stream", guarded(self.stream), methods=["GET"]),
            Route("/ui/fleet", guarded(self.now), methods=["GET"], middleware=smaller),
            Route("/ui/fleet/action", guarded(self.act_on_several), methods=["POST"]),
            Route("/ui/agents/{agent_id}/menu", guarded(self.menu), methods=["GET"]),
            Route("/ui/agents/{agent_id}/actions", guarded(self.actions), methods=["GET"]),
            Route("/ui/agents/{agent_id}/action", guarded(self.act), methods=["POST"]),
        ]

    async def home(self, request: Request) -> Response:
        """The dashboard; the sign-in form instead while a token is asked for."""
        if not self._frame.signed_in(request):
            return self._frame.sign_in_first(request, 200)
        return html(self._home(Arrangement.read(request.query_params)))

    async def stream(self, request: Request) -> Response:
        """The tab's event stream, from the position in the page or, after a break, of its last event."""
        position = request.headers.get("last-event-id") or request.query_params.get("since")
        headers = {**PAGE_HEADERS, "X-Accel-Buffering": "no"}
        stream = self._live.stream(position, home=_shows_home(request))
        return StreamingResponse(stream, headers=headers, media_type=EVENT_STREAM_MEDIA_TYPE)

    async def now(self, request: Request) -> Response:
        """Everything the stream would have told, at once."""
        self._live.refresh()
        return html(self._live.everything(home=_shows_home(request)))

    async def menu(self, request: Request) -> Response:
        """What may be done with an agent, and where more of it is: the menu of its row."""
        return self._of_agent(request, "menu.html")

    async def actions(self, request: Request) -> Response:
        """What may be done with an agent."""
        return self._of_agent(request, "actions.html")

    async def act(self, request: Request) -> Response:
        """One action on one agent; what became of it is told in the agent's row, refused or not."""
        agent_id = request.path_params["agent_id"]
        fields = dict(await form_pairs(request))
        try:
            command = Command.read(fields, actor_of(request.headers, ACTOR))
            outcome = command.accepted(await command.give(self._fleet, agent_id))
            status = 200
        except ManagerError as error:
            title = f"{action_label(fields.get('action', '')) or 'Action'} refused"
            outcome = Outcome(title, error.detail, refused=True)
            status = self._frame.status_of(error)
        return self._act_answer(request, agent_id, outcome, status)

    async def act_on_several(self, request: Request) -> Response:
        """One action on each of the selected agents, at once."""
        pairs = await form_pairs(request)
        try:
            command = Command.read(dict(pairs), actor_of(request.headers, ACTOR))
            outcome = await give_all(command, self._fleet, [value for name, value in pairs if name == "agent"])
        except BadRequest as error:
            outcome = Outcome("Not sent", error.detail, refused=True)
        status = 409 if outcome.refused else 200
        if from_htmx(request):
            self._live.refresh()
            return html(self._renderer.outcome(outcome), status)
        return html(self._home(_AS_LISTED, fleet_outcome=outcome), status)

    def _of_agent(self, request: Request, template: str) -> Response:
        try:
            view = self._fleet.agent(request.path_params["agent_id"])
        except ManagerError as error:
            return self._frame.refused(request, "No such agent", error)
        return html(self._renderer.render(template, actions=agent_actions(view), sidecar=view.sidecar))

    def _act_answer(self, request: Request, agent_id: str, outcome: Outcome, status: int) -> Response:
        if from_htmx(request):
            self._live.refresh()
            row = self._live.pieces.row(agent_id) if _is_from_home(request) else Markup()
            return html(self._renderer.outcome(outcome) + row, status)
        if not outcome.refused:
            return RedirectResponse(f"/#agent-{agent_id}", 303, PAGE_HEADERS)
        if any(view.id == agent_id for view in self._fleet.agents()):
            return html(self._home(_AS_LISTED, {agent_id: outcome}), status)
        return html(self._renderer.message_page(self._frame.context(), outcome), status)

    def _home(
        self,
        arrangement: Arrangement,
        outcomes: dict[str, Outcome] | None = None,
        fleet_outcome: Outcome | None = None,
    ) -> Markup:
        # No await in here: the position and what the page shows are of the same moment.
        page = self._frame.context(HOME)
        pieces = self._live.pieces
        arranged = pieces.arranged(arrangement)
        sections = {name: pieces.section(name) for name in SECTIONS}
        if arrangement.state:
            sections["chips"] = pieces.chips(arrangement.state)
        return self._renderer.render(
            "home.html",
            page=page,
            title=pieces.title,
            sections=sections,
            arrangement=arrangement,
            shown=arranged.shown,
            listed=list(pieces.rows()),
            columns=COLUMNS,
            rows=[self._row(agent_id, row, outcomes or {}) for agent_id, row in arranged.rows.items()],
            bulk=BULK_BUTTONS,
            fleet_outcome=fleet_outcome,
        )

    def _row(self, agent_id: str, row: Markup, outcomes: dict[str, Outcome]) -> Markup:
        if agent_id not in outcomes:
            return row
        view = self._fleet.agent(agent_id)
        return self._renderer.row(agent_row(view, self._clock.now()), outcomes[agent_id])


def _shows_home(request: Request) -> bool:
    return request.query_params.get("view") == HOME


def _is_from_home(request: Request) -> bool:
    return urlsplit(request.headers.get("hx-current-url", "")).path == "/"
