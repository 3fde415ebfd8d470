"""The HTTP around the dashboard's HTML: its headers, and what a browser sends with a form."""

from __future__ import annotations

from urllib.parse import parse_qsl

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from agent_service.http.body import read_body

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


def html(content: Markup, status: int = 200) -> HTMLResponse:
    """A page or a fragment."""
    return HTMLResponse(content, status, PAGE_HEADERS)


def from_htmx(request: Request) -> bool:
    """Whether a fragment is asked for rather than a page."""
    return request.headers.get("hx-request") == "true"


async def form(request: Request) -> dict[str, str]:
    """The fields of a posted form; of a body that is none, nothing."""
    return dict(await form_pairs(request))


async def form_pairs(request: Request) -> list[tuple[str, str]]:
    """The same with every value of a field that comes several times."""
    body = await read_body(request, MAX_FORM_BYTES)
    return parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
