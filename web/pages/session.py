"""Signing in and out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from web.pages.answers import PAGE_HEADERS, form, html
from web.pages.frame import Frame
from web.rendering import Renderer
from web.session import COOKIE_NAME, LIFETIME, Session


class SessionPages:
    """The token in, a cookie out; and the cookie away."""

    def __init__(self, frame: Frame, session: Session, renderer: Renderer) -> None:
        self._frame = frame
        self._session = session
        self._renderer = renderer

    def routes(self) -> list[BaseRoute]:
        """What this module serves."""
        return [
            Route("/ui/login", self.sign_in, methods=["POST"]),
            Route("/ui/logout", self.sign_out, methods=["POST"]),
        ]

    async def sign_in(self, request: Request) -> Response:
        """Token in, cookie out."""
        value = self._session.issue((await form(request)).get("token", ""))
        if value is None:
            refusal = "This is not the manager's token. Look at MANAGER_TOKEN in the manager's environment."
            return html(self._renderer.sign_in(self._frame.outside(), refusal=refusal), 401)
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
