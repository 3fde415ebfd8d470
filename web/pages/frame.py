"""What all pages share: who may see them, and what they say of something that cannot be shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from agent_service.contract import rfc3339
from manager.clock import Clock
from manager.errors import ManagerError
from web.live import LiveFleet
from web.pages.answers import from_htmx, html
from web.rendering import LiveContext, Outcome, PageContext, Renderer
from web.session import COOKIE_NAME, Session

ACTOR = "dashboard"
"""Who asked, for the history, where whatever stands before the manager names nobody."""

Endpoint = Callable[[Request], Awaitable[Response]]


class Frame:
    """Around each page. `status_of` is the API's own mapping of errors to HTTP."""

    def __init__(
        self,
        session: Session,
        live: LiveFleet,
        renderer: Renderer,
        clock: Clock,
        status_of: Callable[[ManagerError], int],
    ) -> None:
        self._session = session
        self._live = live
        self._renderer = renderer
        self._clock = clock
        self.status_of = status_of

    def context(self, place: str = "") -> PageContext:
        """What the page at this place of the navigation knows; `place` is empty for one that is not in it."""
        self._live.refresh()
        live = LiveContext(self._live.pieces.summary, self._live.position)
        return PageContext(rfc3339(self._clock.now()), self._session.required, place, live)

    def outside(self) -> PageContext:
        """The same for somebody who is not signed in."""
        return PageContext(rfc3339(self._clock.now()), can_sign_out=False)

    @property
    def asks_for_token(self) -> bool:
        """Whether the manager has a token, so that a request from a shell needs it."""
        return self._session.required

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """`endpoint`, for those who are signed in; the others are told where to do that."""

        async def checked(request: Request) -> Response:
            return await endpoint(request) if self.signed_in(request) else self.sign_in_first(request)

        return checked

    def signed_in(self, request: Request) -> bool:
        """Whether whoever asks has entered the token, or none is asked for."""
        return not self._session.required or self._session.valid(request.cookies.get(COOKIE_NAME))

    def sign_in_first(self, request: Request, status: int = 401) -> Response:
        """The sign-in form; for a fragment's place a sentence."""
        if from_htmx(request):
            return html(self._renderer.sign_in_again(), status)
        return html(self._renderer.sign_in(self.outside(), refusal=None), status)

    def refused(self, request: Request, title: str, error: ManagerError) -> Response:
        """Why something cannot be shown: a page, or a fragment with the same sentence."""
        outcome = Outcome(title, error.detail, refused=True)
        told = self._renderer.outcome if from_htmx(request) else self._message_page
        return html(told(outcome), self.status_of(error))

    def _message_page(self, outcome: Outcome) -> Markup:
        return self._renderer.message_page(self.context(), outcome)
