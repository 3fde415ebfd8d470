"""A fleet in memory whose state the test changes, and the dashboard on top of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from manager.api.event_query import read_filter
from manager.api.problem import Problems
from manager.errors import ManagerError, StateConflict, StoreUnavailable, UnknownAgent, UnknownWebhook
from manager.event_filter import EVERYTHING, EventFilter
from manager.events import Event, EventBus, EventKind
from manager.store.history import EventPage
from manager.supervision.states import LEGAL_ACTIONS, AgentAction, AgentState, DesiredState, Strategy
from manager.supervision.views import AgentView, InstanceView
from manager.telemetry.self_report import SelfReport
from manager.telemetry.series import Series
from manager.telemetry.traffic import Recent
from tests.unit.web.sources import NOW, FakeIntrospection, FakeLogs, FakeReloader, FakeWebhooks, self_report
from web.live import LiveFleet
from web.rendering import Renderer
from web.routes import WebDeps, exception_handlers, routes
from web.session import Session

_ORDER = [*AgentAction]


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def move(self, **delta: float) -> None:
        self.time += timedelta(**delta)


def view(agent_id: str = "planner", state: AgentState = AgentState.RUNNING, **changes: Any) -> AgentView:
    """A plausible view of an agent in this state."""
    base: dict[str, Any] = {
        "id": agent_id,
        "name": agent_id,
        "description": "",
        "entry_point": "dummy",
        "managed": True,
        "state": state,
        "state_reason": None,
        "desired_state": DesiredState.RUNNING,
        "ready": state is AgentState.RUNNING,
        "service_url": "http://127.0.0.1:8100",
        "pid": 4242,
        "port": 8100,
        "instance_id": "i-1",
        "registered_at": NOW,
        "last_heartbeat_at": NOW,
        "started_at": NOW,
        "restarts": 0,
        "next_start_at": None,
        "last_exit": None,
        "in_flight": 0,
        "queued": 0,
        "tasks_total": 0,
        "tasks_failed": 0,
        "current_task": None,
        "drain_deadline": None,
        "cpu_percent": None,
        "rss_bytes": None,
        "metadata": {},
        "actions": sorted(LEGAL_ACTIONS[state], key=_ORDER.index),
    }
    return AgentView(**(base | changes))


def instance(number: int = 1, **changes: Any) -> InstanceView:
    """A plausible view of one of an agent's processes, which is ready."""
    base: dict[str, Any] = {
        "instance_id": f"i-{number}",
        "pid": 4000 + number,
        "service_url": f"http://127.0.0.1:{8100 + number}",
        "ready": True,
        "draining": False,
        "started_at": NOW,
        "last_heartbeat_at": NOW,
        "in_flight": 0,
        "cpu_percent": None,
        "rss_bytes": None,
    }
    return InstanceView(**(base | changes))


AFTER = {
    AgentAction.START: AgentState.STARTING,
    AgentAction.PAUSE: AgentState.PAUSED,
    AgentAction.RESUME: AgentState.RUNNING,
    AgentAction.STOP: AgentState.STOPPING,
    AgentAction.RESTART: AgentState.STARTING,
    AgentAction.KILL: AgentState.STOPPED,
}


@dataclass
class FakeFleet:
    """Obeys like the real one: illegal actions conflict, legal ones change the state at once."""

    views: dict[str, AgentView] = field(default_factory=dict)
    acts: list[tuple[str, AgentAction, str, str | None]] = field(default_factory=list)
    strategies: list[Strategy | None] = field(default_factory=list)
    asked: int = 0
    refusal: ManagerError | None = None
    hold: asyncio.Event | None = None

    def put(self, *views: AgentView) -> None:
        """Add agents, or replace them."""
        self.views = self.views | {each.id: each for each in views}

    def change(self, agent_id: str, **changes: Any) -> None:
        """Change fields of one agent's view; `state` brings its actions along."""
        if "state" in changes:
            changes.setdefault("actions", sorted(LEGAL_ACTIONS[changes["state"]], key=_ORDER.index))
        self.put(self.views[agent_id].model_copy(update=changes))

    def agents(self) -> list[AgentView]:
        self.asked += 1
        return [*self.views.values()]

    def agent(self, agent_id: str) -> AgentView:
        if agent_id not in self.views:
            raise UnknownAgent(f"There is no agent {agent_id!r}.", agent_id=agent_id)
        return self.views[agent_id]

    async def act(
        self,
        agent_id: str,
        action: AgentAction,
        *,
        actor: str,
        reason: str | None = None,
        timeout_seconds: float | None = None,
        strategy: Strategy | None = None,
    ) -> AgentView:
        if self.hold is not None:
            await self.hold.wait()
        current = self.agent(agent_id)
        if self.refusal is not None:
            raise self.refusal
        if action not in current.actions:
            raise StateConflict(
                f"{agent_id} is {current.state}; start it first.", agent_id=agent_id, state=current.state
            )
        self.acts.append((agent_id, action, actor, reason))
        self.strategies.append(strategy)
        self.change(agent_id, state=AFTER[action])
        return self.views[agent_id]

    async def scale(self, agent_id: str, instances: int, *, actor: str, reason: str | None = None) -> AgentView:
        self.agent(agent_id)
        if self.refusal is not None:
            raise self.refusal
        self.change(agent_id, instances_wanted=instances)
        return self.views[agent_id]


@dataclass
class FakeHistory:
    """What the store would remember of the bus."""

    events: list[Event] = field(default_factory=list)
    unreadable: bool = False

    async def recent(self, limit: int, agent_id: str | None = None) -> list[Event]:
        if self.unreadable:
            raise StoreUnavailable("The disk is full; make room.")
        return self.events[::-1][:limit]

    async def page(
        self, asked: EventFilter = EVERYTHING, *, limit: int, before: int | None = None, after: int | None = None
    ) -> EventPage:
        if self.unreadable:
            raise StoreUnavailable("The disk is full; make room.")
        found = [event for event in self.events if asked.matches(event)]
        older = [event for event in found if before is None or event.id < before]
        if after is None:
            shown = older[-limit:]
        else:
            shown = [event for event in found if event.id > after][:limit]
        return EventPage(
            shown,
            older=shown[0].id if shown and shown[0] is not found[0] else None,
            newer=shown[-1].id if shown else None,
        )


@dataclass
class FakeSeries:
    """No agent has had a request or a sample until the test says so."""

    version: int = 0
    points: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)
    requests: dict[str, Recent] = field(default_factory=dict)

    def all(self, names: Sequence[str], *, points: int = 30) -> dict[str, dict[str, list[float | None]]]:
        return {key: {name: lists.get(name, []) for name in names} for key, lists in self.points.items()}

    def recents(self) -> dict[str, Recent]:
        return self.requests

    def of(self, agent_id: str, *, points: int = 360) -> Series:
        return Series(10.0, NOW, self.points.get(agent_id, {}))

    def manager(self, *, points: int = 360) -> Series:
        return Series(10.0, NOW, self.points.get("", {}))


class World:
    """Everything the dashboard needs, and handles to change it."""

    def __init__(self, *views: AgentView, tokens: tuple[str, ...] = (), clock: Any = None) -> None:
        self.clock = clock or FakeClock()
        self.fleet = FakeFleet()
        self.fleet.put(*views)
        self.logs = FakeLogs()
        self.history = FakeHistory()
        self.bus = EventBus(self.clock)
        self.bus.listen(self.history.events.append)
        self.session = Session(tokens, self.clock)
        self.reloader = FakeReloader()
        self.webhooks = FakeWebhooks()
        self.renderer = Renderer("1.2.3")
        self.series = FakeSeries()
        self.introspection = FakeIntrospection()
        self.report = self_report()
        self.live = LiveFleet(self.fleet, self.history, self.series, self.bus, self.clock, self.renderer)

    def deps(self) -> WebDeps:
        return WebDeps(
            fleet=self.fleet,
            logs=self.logs,
            live=self.live,
            history=self.history,
            reloader=self.reloader,
            session=self.session,
            renderer=self.renderer,
            clock=self.clock,
            status_of=status_of,
            read_event_filter=read_filter,
            series=self.series,
            introspection=self.introspection,
            read_self=self.read_self,
            webhooks=self.webhooks,
        )

    async def read_self(self) -> SelfReport:
        return self.report

    def app(self, *more: BaseRoute) -> Starlette:
        deps = self.deps()
        handlers = exception_handlers(deps, Problems(Path("manager.log")).handlers())
        return Starlette(routes=[*more, *routes(deps)], exception_handlers=handlers)

    def client(self, **options: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app())
        return httpx.AsyncClient(transport=transport, base_url="http://manager.test", **options)

    def happen(self, message: str, agent_id: str | None = "planner", **data: Any) -> Event:
        return self.bus.publish(EventKind.STATE_CHANGED, message, agent_id=agent_id, **data)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The live fleet at work; the bus closes at the end, as at the manager's own."""
        task = asyncio.create_task(self.live.run())
        try:
            yield
        finally:
            self.bus.close()
            await task


def status_of(error: ManagerError) -> int:
    return {UnknownAgent: 404, UnknownWebhook: 404, StateConflict: 409, StoreUnavailable: 503}.get(type(error), 400)
