"""What the dashboard costs: the first page's transfer, the fleet rendered anew, and ten tabs that stay open.

The agents are idle dummies, whose heartbeats and figures change their rows all the time. The CPU is the manager's;
only the rendering is done in this process, by the same code.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from time import process_time

import httpx

from manager.clock import SystemClock
from manager.supervision.views import AgentView
from manager.telemetry.traffic import Recent
from scripts.benchmarks.client import HOST
from scripts.benchmarks.fleet import DUMMY, make_agents, until_healthy
from scripts.benchmarks.memory import cpu_percent
from scripts.benchmarks.options import CannotMeasure, Options
from scripts.benchmarks.samples import Samples, percent, seconds, show
from scripts.benchmarks.systems.agent_manager import agent_manager
from web.figures import FigureReader
from web.fleet_pieces import FleetPieces, joined
from web.rendering import Renderer

TABS = 10
RENDERED = 200
_ASSET = re.compile(r'(?:href|src)="(/static/[^"]+)"')
_SETTLE_SECONDS = 15.0


async def run(options: Options) -> None:
    """Measure the page, the rendering, and the tabs."""
    count = options.fleet(100, 10)
    agents = make_agents(count, DUMMY, autostart=True)
    async with agent_manager(options.directory("dashboard"), agents) as manager:
        await until_healthy(agents)
        await asyncio.sleep(options.size(_SETTLE_SECONDS, 2.0))
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{manager.port}", trust_env=False, timeout=60) as client:
            plain, compressed = await _first_page(client, "identity"), await _first_page(client, "gzip")
            transfers = [Samples("plain", [plain], kilobytes), Samples("gzip", [compressed], kilobytes)]
            show(f"{count} agents: bytes of the first page and all that it loads", transfers)
            length = options.size(30.0, 3.0)
            (idle,) = await cpu_percent([[manager.pid]], length)
            async with AsyncExitStack() as stack:
                await _open_tabs(client, stack)
                (busy,) = await cpu_percent([[manager.pid]], length)
            looks = [Samples("nobody looks", [idle], percent), Samples(f"{TABS} tabs", [busy], percent)]
            show(f"{count} agents: manager's CPU", looks)
            listing = (await client.get("/api/agent-services")).json()["agents"]
    views = [
        AgentView.model_validate(listing[number % count] | {"id": f"agent-{number}"}) for number in range(RENDERED)
    ]
    charts, rows = _render(views, options.repeat(30, 3))
    rendered = [Samples("rows and all", rows, seconds), Samples("charts, once in 10 s", charts, seconds)]
    show(f"{RENDERED} agents: CPU of rendering the whole fleet anew", rendered)


def kilobytes(value: float) -> str:
    """Bytes as thousands of them."""
    return f"{value / 1e3:.1f} kB"


async def _first_page(client: httpx.AsyncClient, encoding: str) -> float:
    """Bytes of the bodies as they are on the wire."""
    headers = {"Accept-Encoding": encoding}
    page = await client.get("/", headers=headers)
    assets = [await client.get(path, headers=headers) for path in sorted(set(_ASSET.findall(page.text)))]
    for answer in (page, *assets):
        if answer.status_code != 200:
            raise CannotMeasure(f"GET {answer.url} was answered with {answer.status_code}.")
    return float(sum(answer.num_bytes_downloaded for answer in (page, *assets)))


async def _open_tabs(client: httpx.AsyncClient, stack: AsyncExitStack) -> None:
    """Each reads its stream until the stack is left."""
    reading = await stack.enter_async_context(asyncio.TaskGroup())
    for _ in range(TABS):
        task = reading.create_task(_read_stream(client))
        stack.callback(task.cancel)
    await asyncio.sleep(1.0)


async def _read_stream(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/ui/stream?view=fleet") as answer:
        async for _ in answer.aiter_raw():
            pass


class _StandingFleet:
    """Answers the same views each time."""

    def __init__(self, views: list[AgentView]) -> None:
        self._views = views

    def agents(self) -> list[AgentView]:
        return self._views


class _DrawnSeries:
    """Every agent has had requests, and charts of thirty points."""

    version = 1

    def __init__(self, views: list[AgentView]) -> None:
        self._ids = [view.id for view in views]

    def all(self, names: Sequence[str], *, points: int) -> dict[str, dict[str, list[float | None]]]:
        drawn: list[float | None] = [float(number % 7) for number in range(points)]
        return {agent_id: dict.fromkeys(names, drawn) for agent_id in self._ids}

    def recents(self) -> dict[str, Recent]:
        return dict.fromkeys(self._ids, Recent(300, 1.0, 3, 0.01, 12.0, 80.0))


def _render(views: list[AgentView], runs: int) -> tuple[list[float], list[float]]:
    """CPU seconds from the views to the whole fragment, from nothing: the charts first, then rows and all."""
    clock, renderer = SystemClock(), Renderer("benchmark")
    charts, rows = [], []
    for _ in range(runs):
        reader = FigureReader(_DrawnSeries(views), clock)
        began = process_time()
        reader.current()
        drawn = process_time()
        pieces = FleetPieces(_StandingFleet(views), reader, clock, renderer)
        pieces.refresh()
        joined(pieces.home_since(-1))
        charts.append(drawn - began)
        rows.append(process_time() - drawn)
    return charts, rows
