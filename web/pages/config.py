"""The config: what is in force, what the file would change, taking it over, and trying its webhooks."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from manager.actor import actor_of
from manager.clock import Clock
from manager.errors import ConfigError, ManagerError
from manager.notifications.views import DeliveryView, WebhookView
from manager.specs.diff import ConfigDiff
from manager.specs.fleet_config import FleetConfig
from web.pages.answers import PAGE_HEADERS, form, html
from web.pages.frame import ACTOR, Frame
from web.plan_rows import Plan, outcome_of_reload, plan_of, refused_plan
from web.rendering import Outcome, Renderer
from web.setting_rows import agent_rows, runtime_rows
from web.webhook_rows import WebhookRow, newest_test, outcome_of_test, webhook_row


class ConfigReloader(Protocol):
    """What compares and takes over; `manager.supervision.reloading.Reloader` is one."""

    @property
    def running(self) -> FleetConfig: ...

    async def plan(self) -> ConfigDiff: ...

    async def apply(self, *, actor: str, quiet: bool = False, seen: str | None = None) -> ConfigDiff: ...


class Webhooks(Protocol):
    """Who is told of events; `manager.notifications.notifier.Notifier` is one."""

    async def views(self) -> list[WebhookView]: ...

    async def deliveries(self, name: str) -> list[DeliveryView]: ...

    async def test(self, name: str) -> DeliveryView: ...


class ConfigPages:
    """One page, and the buttons on it."""

    def __init__(
        self, frame: Frame, reloader: ConfigReloader, webhooks: Webhooks, renderer: Renderer, clock: Clock
    ) -> None:
        self._frame = frame
        self._reloader = reloader
        self._webhooks = webhooks
        self._renderer = renderer
        self._clock = clock

    def routes(self) -> list[BaseRoute]:
        """What this module serves."""
        guarded = self._frame.guarded
        return [
            Route("/config", guarded(self.show), methods=["GET"]),
            Route("/config/reload", guarded(self.reload), methods=["POST"]),
            Route("/config/webhook-test", guarded(self.test_webhook), methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """The plan and the config, as they are now."""
        plan = await self._plan()
        return await self._page(plan, await self._outcome(request.query_params, plan))

    async def reload(self, request: Request) -> Response:
        """Take the file over, if it still means what the page has shown."""
        seen = (await form(request)).get("plan", "")
        try:
            await self._reloader.apply(actor=actor_of(request.headers, ACTOR), seen=seen)
        except ManagerError as error:
            why = "The file is wrong; see below." if isinstance(error, ConfigError) else error.detail
            return await self._refused("Not reloaded", why, error)
        return RedirectResponse("/config?reloaded", 303, PAGE_HEADERS)

    async def test_webhook(self, request: Request) -> Response:
        """Send a webhook a test; the page says whether it arrived."""
        name = (await form(request)).get("webhook", "")
        try:
            await self._webhooks.test(name)
        except ManagerError as error:
            return await self._refused("No test was sent", error.detail, error)
        return RedirectResponse(f"/config?{urlencode({'tested': name})}", 303, PAGE_HEADERS)

    async def _outcome(self, done: QueryParams, plan: Plan) -> Outcome | None:
        """What was done before this page. The address says only what it was: how it went is asked anew."""
        if "reloaded" in done:
            return outcome_of_reload(plan)
        if "tested" not in done:
            return None
        try:
            delivery = newest_test(await self._webhooks.deliveries(done["tested"]))
        except ManagerError:
            return None
        return None if delivery is None else outcome_of_test(delivery)

    async def _refused(self, title: str, why: str, error: ManagerError) -> Response:
        outcome = Outcome(title, why, refused=True)
        return await self._page(await self._plan(), outcome, self._frame.status_of(error))

    async def _page(self, plan: Plan, outcome: Outcome | None, status: int = 200) -> Response:
        webhooks, trouble = await self._webhook_rows()
        running = self._reloader.running
        content = self._renderer.render(
            "config.html",
            page=self._frame.context("config"),
            outcome=outcome,
            plan=plan,
            path=str(running.path),
            webhooks=webhooks,
            webhook_trouble=trouble,
            runtime=runtime_rows(running.runtime),
            agents=[(agent, agent_rows(agent, running.runtime)) for agent in running.agents],
        )
        return html(content, status)

    async def _webhook_rows(self) -> tuple[list[WebhookRow], str | None]:
        """And why they cannot be shown, if so."""
        settings = {webhook.name: webhook for webhook in self._reloader.running.runtime.webhooks}
        try:
            views = await self._webhooks.views()
            return [webhook_row(view, self._clock.now(), settings.get(view.name)) for view in views], None
        except ManagerError as error:
            return [], error.detail

    async def _plan(self) -> Plan:
        try:
            return plan_of(await self._reloader.plan())
        except ConfigError as error:
            return refused_plan(error.issues)
