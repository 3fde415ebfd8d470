"""The dashboard's routes: pages, their fragments, one event stream. A GET changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute, Mount
from starlette.types import ExceptionHandler, HTTPExceptionHandler

from manager.clock import Clock
from manager.errors import ManagerError
from manager.supervision.fleet import Fleet
from web.assets import STATIC_DIRECTORY, AssetFiles
from web.live import LiveFleet
from web.pages.about import AboutPages, ReadSelf
from web.pages.agent import AgentPages, Introspection
from web.pages.config import ConfigPages, ConfigReloader, Webhooks
from web.pages.events import EventHistory, EventPages, ReadFilter
from web.pages.fleet import FleetPages
from web.pages.frame import Frame
from web.pages.logs import LogPages, LogReader
from web.pages.metrics import MetricsPages, SeriesReader
from web.pages.missing import MissingPage
from web.pages.session import SessionPages
from web.rendering import Renderer
from web.session import Session


@dataclass(frozen=True)
class WebDeps:
    """What the dashboard is made of.

    Two of the API's own: `status_of` maps errors to HTTP, `read_event_filter` reads a query.
    """

    fleet: Fleet
    logs: LogReader
    live: LiveFleet
    history: EventHistory
    reloader: ConfigReloader
    session: Session
    renderer: Renderer
    clock: Clock
    status_of: Callable[[ManagerError], int]
    read_event_filter: ReadFilter
    series: SeriesReader
    introspection: Introspection
    read_self: ReadSelf
    webhooks: Webhooks


def routes(deps: WebDeps) -> list[BaseRoute]:
    """The routes of the dashboard, to be mounted at the root."""
    frame = _frame(deps)
    return [
        *FleetPages(frame, deps.fleet, deps.live, deps.renderer, deps.clock).routes(),
        *SessionPages(frame, deps.session, deps.renderer).routes(),
        *AgentPages(
            frame,
            deps.fleet,
            deps.history,
            deps.series,
            deps.introspection,
            deps.reloader,
            deps.renderer,
            deps.clock,
        ).routes(),
        *LogPages(frame, deps.fleet, deps.logs, deps.live, deps.renderer, deps.clock).routes(),
        *EventPages(frame, deps.fleet, deps.history, deps.read_event_filter, deps.renderer, deps.clock).routes(),
        *ConfigPages(frame, deps.reloader, deps.webhooks, deps.renderer, deps.clock).routes(),
        *MetricsPages(frame, deps.fleet, deps.series, deps.renderer).routes(),
        *AboutPages(frame, deps.read_self, deps.renderer, deps.clock).routes(),
        Mount("/static", AssetFiles(directory=STATIC_DIRECTORY), middleware=[Middleware(GZipMiddleware)]),
    ]


def exception_handlers(
    deps: WebDeps, api: Mapping[type[Exception], ExceptionHandler]
) -> dict[type[Exception], ExceptionHandler]:
    """The API's own, but for a browser that asks for a page where there is none."""
    otherwise = cast(HTTPExceptionHandler, api[HTTPException])
    return {**api, HTTPException: MissingPage(_frame(deps), deps.renderer, otherwise).answer}


def _frame(deps: WebDeps) -> Frame:
    return Frame(deps.session, deps.live, deps.renderer, deps.clock, deps.status_of)
