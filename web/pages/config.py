"""The config: what is in force, what the file would change, and taking it over."""

from __future__ import annotations

from typing import Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from manager.errors import ConfigError, ManagerError
from manager.specs.diff import ConfigDiff
from manager.specs.fleet_config import FleetConfig
from web.pages.answers import PAGE_HEADERS, form, html
from web.pages.frame import ACTOR, Frame
from web.plan_rows import Plan, plan_of, refused_plan
from web.rendering import Outcome, Renderer
from web.setting_rows import agent_rows, runtime_rows


class ConfigReloader(Protocol):
    """What compares and takes over; `manager.supervision.reloading.Reloader` is one."""

    @property
    def running(self) -> FleetConfig: ...

    async def plan(self) -> ConfigDiff: ...

    async def apply(self, *, actor: str, quiet: bool = False, seen: str | None = None) -> ConfigDiff: ...


class ConfigPages:
    """One page, and the button on it."""

    def __init__(self, frame: Frame, reloader: ConfigReloader, renderer: Renderer) -> None:
        self._frame = frame
        self._reloader = reloader
        self._renderer = renderer

    def routes(self) -> list[BaseRoute]:
        """What this module serves."""
        guarded = self._frame.guarded
        return [
            Route("/config", guarded(self.show), methods=["GET"]),
            Route("/config/reload", guarded(self.reload), methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """The plan and the config, as they are now."""
        done = request.query_params.get("reloaded")
        outcome = None if done is None else Outcome("Reloaded", "The file is in force.", refused=False)
        return await self._page(outcome)

    async def reload(self, request: Request) -> Response:
        """Take the file over, if it still means what the page has shown."""
        seen = (await form(request)).get("plan", "")
        try:
            await self._reloader.apply(actor=ACTOR, seen=seen)
        except ManagerError as error:
            why = "The file is wrong; see below." if isinstance(error, ConfigError) else error.detail
            return await self._page(Outcome("Not reloaded", why, refused=True), self._frame.status_of(error))
        return RedirectResponse("/config?reloaded", 303, PAGE_HEADERS)

    async def _page(self, outcome: Outcome | None, status: int = 200) -> Response:
        plan = await self._plan()
        running = self._reloader.running
        content = self._renderer.render(
            "config.html",
            page=self._frame.context("config"),
            outcome=outcome,
            plan=plan,
            path=str(running.path),
            runtime=runtime_rows(running.runtime),
            agents=[(agent, agent_rows(agent, running.runtime)) for agent in running.agents],
        )
        return html(content, status)

    async def _plan(self) -> Plan:
        try:
            return plan_of(await self._reloader.plan())
        except ConfigError as error:
            return refused_plan(error.issues)
