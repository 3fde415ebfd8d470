"""The manager itself: who it is, how it is, and what wants attention."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from manager.clock import Clock
from manager.telemetry.self_report import SelfReport
from web.pages.answers import html
from web.pages.frame import Frame
from web.rendering import Renderer
from web.self_facts import health_facts, identity_facts, storage_facts, worries
from web.texts import bytes_text

ReadSelf = Callable[[], Awaitable[SelfReport]]


class AboutPages:
    """One page, and what of it changes as a fragment."""

    def __init__(self, frame: Frame, read_self: ReadSelf, renderer: Renderer, clock: Clock) -> None:
        self._frame = frame
        self._read_self = read_self
        self._renderer = renderer
        self._clock = clock

    def routes(self) -> list[BaseRoute]:
        """What this module serves."""
        guarded = self._frame.guarded
        return [
            Route("/about", guarded(self.show), methods=["GET"]),
            Route("/ui/about", guarded(self.health), methods=["GET"]),
        ]

    async def show(self, request: Request) -> Response:
        """The page."""
        report = await self._read_self()
        content = self._renderer.render(
            "about.html",
            page=self._frame.context("about"),
            identity=identity_facts(report),
            health=self._health(report),
        )
        return html(content)

    async def health(self, request: Request) -> Response:
        """How it is now."""
        return html(self._health(await self._read_self()))

    def _health(self, report: SelfReport) -> Markup:
        return self._renderer.render(
            "about_health.html",
            worries=worries(report),
            health=health_facts(report, self._clock.now()),
            storage=storage_facts(report),
            fork_servers=[
                (server, None if server.rss_bytes is None else bytes_text(server.rss_bytes))
                for server in report.fork_servers
            ],
        )
