"""An address at which nothing is: a page for browsers, and for programs what the API answers."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import HTTPExceptionHandler

from web.pages.answers import html
from web.pages.frame import Frame
from web.rendering import Outcome, Renderer

_DETAILS = {
    404: "There is nothing at this address.",
    405: "Nothing is shown at this address; it only takes what is sent to it.",
}


class MissingPage:
    """Handles Starlette's `HTTPException`; `otherwise` does where no page is asked for."""

    def __init__(self, frame: Frame, renderer: Renderer, otherwise: HTTPExceptionHandler) -> None:
        self._frame = frame
        self._renderer = renderer
        self._otherwise = otherwise

    async def answer(self, request: Request, error: Exception) -> Response:
        """The page with the error's status, or what `otherwise` answers."""
        assert isinstance(error, HTTPException)
        detail = _DETAILS.get(error.status_code)
        if detail is None or not _is_of_browser(request):
            answer = self._otherwise(request, error)
            return answer if isinstance(answer, Response) else await answer
        if not self._frame.signed_in(request):
            return self._frame.sign_in_first(request)
        outcome = Outcome("Nothing to show", detail, refused=True)
        page = html(self._renderer.message_page(self._frame.context(), outcome), error.status_code)
        page.headers.update(error.headers or {})
        return page


def _is_of_browser(request: Request) -> bool:
    wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    return wants_page and not request.url.path.startswith("/api/")
