"""The dashboard's routes: one page, its fragments and its event stream. A GET changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route

from agent_service.contract import EVENT_STREAM_MEDIA_TYPE, rfc3339
from agent_service.http.body import read_body
from manager.clock import Clock
from manager.errors import BadRequest, ManagerError
from manager.supervision.fleet import Fleet
from manager.supervision.states import AgentAction
from web.assets import STATIC_DIRECTORY, AssetFiles
from web.event_rows import event_rows
from web.live import LiveFleet
from web.log_lines import LogLine, log_line
from web.rendering import AgentItem, Outcome, PageContext, Renderer
from web.session import COOKIE_NAME, LIFETIME, Session
from web.view_models import action_label, agent_row, fleet_summary

ACTOR = "dashboard"
LOG_LINES = 200
MAX_REASON_LENGTH = 500
MAX_FORM_BYTES = 64 * 1024

PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Not no-referrer: with it a browser sends `Origin: null` with a form, and the same-origin check refuses that.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

Endpoint = Callable[[Request], Awaitable[Response]]


class LogReader(Protocol):
    """Where an agent's log lines come from."""

    async def tail(self, agent_id: str, lines: int) -> list[str]:
        """The newest `lines` lines, oldest first; none for an agent that has not logged yet."""
        ...


@dataclass(frozen=True)
class WebDeps:
    """What the dashboard is made of. `status_of` is the API's own mapping of errors to HTTP."""

    fleet: Fleet
    logs: LogReader
    live: LiveFleet
    session: Session
    renderer: Renderer
    clock: Clock
    status_of: Callable[[ManagerError], int]


def routes(deps: WebDeps) -> list[BaseRoute]:
    """The routes of the dashboard, to be mounted at the root."""
    pages = _Pages(deps)
    return [
        Route("/", pages.home, methods=["GET"]),
        Route("/ui/login", pages.sign_in, methods=["POST"]),
        Route("/ui/logout", pages.sign_out, methods=["POST"]),
        Route("/ui/stream", pages.guarded(pages.stream), methods=["GET"]),
        Route("/ui/fleet", pages.guarded(pages.fleet), methods=["GET"]),
        Route("/ui/agents/{agent_id}/logs", pages.guarded(pages.logs), methods=["GET"]),
        Route("/ui/agents/{agent_id}/action", pages.guarded(pages.act), methods=["POST"]),
        Mount("/static", AssetFiles(directory=STATIC_DIRECTORY)),
    ]


class _Pages:
    def __init__(self, deps: WebDeps) -> None:
        self._fleet = deps.fleet
        self._logs = deps.logs
        self._live = deps.live
        self._session = deps.session
        self._renderer = deps.renderer
        self._clock = deps.clock
        self._status_of = deps.status_of

    async def home(self, request: Request) -> Response:
        """The dashboard; the sign-in form instead while a token is asked for."""
        if not self._signed_in(request):
            return _html(self._renderer.sign_in(self._page(), refusal=None))
        return _html(self._dashboard())

    async def sign_in(self, request: Request) -> Response:
        """Token in, cookie out."""
        value = self._session.issue((await _form(request)).get("token", ""))
        if value is None:
            refusal = "This is not the manager's token. Look at MANAGER_TOKEN in the manager's environment."
            return _html(self._renderer.sign_in(self._page(), refusal=refusal), 401)
        response = RedirectResponse("/", 303, PAGE_HEADERS)
        response.set_cookie(
            COOKIE_NAME,
            value,
            max_age=int(LIFETIME.total_seconds()),
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    async def sign_out(self, request: Request) -> Response:
        """Forget the cookie."""
        response = RedirectResponse("/", 303, PAGE_HEADERS)
        response.delete_cookie(COOKIE_NAME, httponly=True, samesite="strict")
        return response

    async def stream(self, request: Request) -> Response:
        """The tab's event stream, from the position in the page or, after a break, of its last event."""
        position = request.headers.get("last-event-id") or request.query_params.get("since")
        headers = {**PAGE_HEADERS, "X-Accel-Buffering": "no"}
        return StreamingResponse(self._live.stream(position), headers=headers, media_type=EVENT_STREAM_MEDIA_TYPE)

    async def fleet(self, request: Request) -> Response:
        """Everything the stream would have told, at once."""
        self._live.refresh()
        return _html(self._live.everything())

    async def logs(self, request: Request) -> Response:
        """An agent's newest log lines: a fragment for htmx, else a page."""
        agent_id = request.path_params["agent_id"]
        try:
            self._fleet.agent(agent_id)
            lines = [log_line(raw) for raw in await self._logs.tail(agent_id, LOG_LINES)]
        except ManagerError as error:
            return self._logs_refused(request, error)
        return self._logs_answer(request, agent_id, lines)

    async def act(self, request: Request) -> Response:
        """One lifecycle action; what became of it is told in the agent's row, refused or not."""
        agent_id = request.path_params["agent_id"]
        form = await _form(request)
        word = form.get("action", "")
        try:
            outcome = await self._act(agent_id, word, form.get("reason", "").strip() or None)
            status = 200
        except ManagerError as error:
            outcome = Outcome(f"{word.capitalize() or 'Action'} refused", error.detail, refused=True)
            status = self._status_of(error)
        return self._act_answer(request, agent_id, outcome, status)

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """`endpoint`, for those who are signed in; the others are told where to do that."""

        async def checked(request: Request) -> Response:
            if self._signed_in(request):
                return await endpoint(request)
            if _from_htmx(request):
                return _html(self._renderer.sign_in_again(), 401)
            return _html(self._renderer.sign_in(self._page(), refusal=None), 401)

        return checked

    async def _act(self, agent_id: str, word: str, reason: str | None) -> Outcome:
        if word not in [*AgentAction]:
            raise BadRequest(f"Unknown action {word!r}; use one of {', '.join(AgentAction)}.", agent_id=agent_id)
        if reason is not None and len(reason) > MAX_REASON_LENGTH:
            raise BadRequest(f"Shorten the reason to {MAX_REASON_LENGTH} characters.", agent_id=agent_id)
        action = AgentAction(word)
        view = await self._fleet.act(agent_id, action, actor=ACTOR, reason=reason)
        return Outcome(f"{action_label(action)} accepted", f"The agent is {view.state.value}.", refused=False)

    def _act_answer(self, request: Request, agent_id: str, outcome: Outcome, status: int) -> Response:
        if _from_htmx(request):
            self._live.refresh()
            return _html(self._renderer.outcome(outcome) + self._live.row(agent_id), status)
        if not outcome.refused:
            return RedirectResponse(f"/#agent-{agent_id}", 303, PAGE_HEADERS)
        if any(view.id == agent_id for view in self._fleet.agents()):
            return _html(self._dashboard({agent_id: outcome}), status)
        return _html(self._renderer.message_page(self._page(), outcome), status)

    def _logs_answer(self, request: Request, agent_id: str, lines: list[LogLine]) -> Response:
        if _from_htmx(request):
            return _html(self._renderer.log_lines(lines))
        return _html(self._renderer.logs_page(self._page(), agent_id=agent_id, lines=lines))

    def _logs_refused(self, request: Request, error: ManagerError) -> Response:
        outcome = Outcome("No log to show", error.detail, refused=True)
        status = self._status_of(error)
        if _from_htmx(request):
            return _html(self._renderer.outcome(outcome), status)
        return _html(self._renderer.message_page(self._page(), outcome), status)

    def _dashboard(self, outcomes: dict[str, Outcome] | None = None) -> Markup:
        # No await in here: the position and what the page shows are of the same moment.
        self._live.refresh()
        now = self._clock.now()
        views = self._fleet.agents()
        return self._renderer.dashboard(
            self._page(),
            position=self._live.position,
            summary=fleet_summary(views),
            agents=[
                AgentItem(view.id, view.name, self._renderer.live(agent_row(view, now)), (outcomes or {}).get(view.id))
                for view in views
            ],
            events=event_rows(self._live.events, now),
        )

    def _page(self) -> PageContext:
        return PageContext(now=rfc3339(self._clock.now()), can_sign_out=self._session.required)

    def _signed_in(self, request: Request) -> bool:
        return not self._session.required or self._session.valid(request.cookies.get(COOKIE_NAME))


def _from_htmx(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"


async def _form(request: Request) -> dict[str, str]:
    body = await read_body(request, MAX_FORM_BYTES)
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))


def _html(content: Markup, status: int = 200) -> HTMLResponse:
    return HTMLResponse(content, status, PAGE_HEADERS)
