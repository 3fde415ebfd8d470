"""Key figures of fleet and manager, and how to collect all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from manager.supervision.fleet import Fleet
from manager.telemetry.series import CAPACITY, Series
from manager.telemetry.traffic import Recent
from web.charts import chart
from web.hour_charts import MANAGER_FIGURES
from web.metric_rows import key_figures, metric_rows
from web.pages.answers import html
from web.pages.frame import Frame
from web.rendering import Renderer


class SeriesReader(Protocol):
    """Where the time series come from; `manager.telemetry.series.FleetSeries` is one."""

    def of(self, agent_id: str, *, points: int = CAPACITY) -> Series: ...

    def recents(self) -> Mapping[str, Recent]: ...

    def manager(self, *, points: int = CAPACITY) -> Series: ...


class MetricsPages:
    """One page, and its figures as a fragment."""

    def __init__(self, frame: Frame, fleet: Fleet, series: SeriesReader, renderer: Renderer) -> None:
        self._frame = frame
        self._fleet = fleet
        self._series = series
        self._renderer = renderer

    def routes(self) -> list[BaseRoute]:
        """What this module serves."""
        guarded = self._frame.guarded
        return [
            Route("/metrics-overview", guarded(self.show), methods=["GET"]),
            Route("/ui/metrics-overview", guarded(self.figures), methods=["GET"]),
        ]

    async def show(self, request: Request) -> Response:
        """The page; the scrape config names the host by which it was asked for."""
        content = self._renderer.render(
            "metrics.html",
            page=self._frame.context("metrics"),
            figures=self._figures(),
            target=urlsplit(str(request.base_url)).netloc,
            scheme=request.url.scheme,
        )
        return html(content)

    async def figures(self, request: Request) -> Response:
        """The figures of this moment."""
        return html(self._figures())

    def _figures(self) -> Markup:
        views, recents, manager = self._fleet.agents(), self._series.recents(), self._series.manager()
        return self._renderer.render(
            "metrics_figures.html",
            key_figures=key_figures(views, recents),
            agents=metric_rows(views, recents),
            charts=[chart(figure, manager) for figure in MANAGER_FIGURES],
        )
