"""Wiring only: from config and secrets to the objects that make a manager, and the Starlette app over them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import Scope

from agent_service.http.guards import HostGuard, RequestIds, TokenGuard
from agent_service.http.listeners import PublicListeners
from manager.adapter_client import AdapterClient
from manager.api.agents import Agents
from manager.api.config import ConfigEndpoints
from manager.api.events import Events
from manager.api.execute import Execute
from manager.api.logs import Logs
from manager.api.manager import ManagerEndpoints
from manager.api.openapi import document
from manager.api.operation import Operation, routes_of
from manager.api.problem import Problems, status_of
from manager.api.registration import RegistrationEndpoints
from manager.clock import SystemClock
from manager.events import EventBus
from manager.forwarding.forwarder import Forwarder, make_client
from manager.hangup import ACTOR as HANGUP
from manager.hangup import reload_on_hangup
from manager.registry.cleaner import clean
from manager.registry.registry import Registry
from manager.registry.routing import RoutePolicy, Router
from manager.settings import Secrets
from manager.specs.fleet_config import FleetConfig
from manager.store.history import EventHistory
from manager.store.store import Store
from manager.supervision.config_watch import watch
from manager.supervision.exec_spawner import ExecSpawner
from manager.supervision.fleet import Fleet
from manager.supervision.fork_spawner import ForkSpawner
from manager.supervision.launching import Launcher
from manager.supervision.memory_limits import enforce_memory_limits
from manager.supervision.outsiders import Outsiders
from manager.supervision.process import Spawner
from manager.supervision.reloading import Reloader
from manager.supervision.resources import ResourceSampler
from manager.supervision.states import AgentState, DesiredState
from manager.supervision.supervisor import Supervisor
from manager.supervision.tools import Tools
from manager.supervision.view_builder import ViewBuilder
from manager.supervision.views import AgentView
from manager.tasks import TaskOwner
from manager.telemetry.event_log import log_events
from manager.telemetry.exposition import CONTENT_TYPE
from manager.telemetry.logs import AgentLogs
from manager.telemetry.manager_metrics import ManagerMetrics
from manager.telemetry.metrics import FleetMetrics
from manager.telemetry.request_metrics import RequestMetrics
from manager.telemetry.target import Target
from manager.version import __version__
from web.live import LiveFleet
from web.pages import WebDeps, routes
from web.rendering import Renderer
from web.session import COOKIE_NAME, Session


@dataclass(frozen=True)
class Manager:
    """A wired manager: the app to serve, and what its server has to open, watch and drain."""

    app: Starlette
    bus: EventBus
    fleet: Fleet
    supervisor: Supervisor
    state: ServingState


@dataclass
class ServingState:
    """Whether the manager takes work: not yet, yes, or no more."""

    is_ready: bool = False
    leaves_agents: bool = False


@asynccontextmanager
async def open_manager(
    config: FleetConfig,
    secrets: Secrets,
    *,
    load: Callable[[], FleetConfig],
    url: str,
    bound_host: str,
    shut_down: Callable[[bool], None],
) -> AsyncIterator[Manager]:
    """Everything but the HTTP server, opened; agents start with `supervisor.open`.

    `load` reads the config file anew; `shut_down` (whether to leave the agents) ends the manager.
    Raises `StoreUnavailable`.
    """
    async with AsyncExitStack() as stack:
        runtime, clock = config.runtime, SystemClock()
        state = ServingState()
        # 1. What survives.
        store = await Store.open(config.state_directory)
        stack.push_async_callback(store.close)
        bus = EventBus(clock, next_id=await store.last_event_id() + 1)
        history = EventHistory(store, clock, retention_days=runtime.event_retention_days)
        stack.push_async_callback(history.close)
        # 2. Who listens.
        metrics = ManagerMetrics(version=__version__)
        bus.listen(history.record)
        log_events(bus)
        metrics.count_events(bus)
        # 3. The fleet.
        unlimited = httpx.Limits(max_connections=None)
        control = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, limits=unlimited))
        forwarding = await stack.enter_async_context(make_client())
        tokens = secrets.tokens()
        token = tokens[0] if tokens else None
        adapters = AdapterClient(control, token=token)
        registry = Registry(
            clock,
            bus,
            interval_seconds=runtime.heartbeat_interval_seconds,
            ttl_seconds=runtime.heartbeat_ttl_seconds,
        )
        router = Router(registry, clock)
        logs = AgentLogs(config.log_directory)
        spawner = _spawner(config)
        stack.push_async_callback(lambda: spawner.aclose(leave_running=state.leaves_agents))
        tools = Tools(
            clock=clock,
            bus=bus,
            registry=registry,
            router=router,
            store=store,
            spawner=spawner,
            launcher=Launcher(
                environ=os.environ,
                manager_url=url,
                tokens=secrets,
                project_directory=config.project_directory,
                log_file=logs.path,
                shares_ports=spawner.shares_ports,
            ),
            adapters=adapters,
            last_words=logs.last_words,
            log_size=logs.size,
            kill_grace_seconds=runtime.kill_grace_seconds,
            silence_limit_seconds=runtime.heartbeat_ttl_seconds,
        )
        supervisor = Supervisor(config.agents, tools)
        stack.push_async_callback(supervisor.close)
        outsiders = Outsiders(
            registry,
            router,
            adapters,
            bus,
            clock,
            policy=RoutePolicy(
                runtime.execute_timeout_seconds, runtime.queue_while_restarting_seconds, runtime.max_body_bytes
            ),
            lost_retention_seconds=runtime.lost_retention_seconds,
        )
        resources = ResourceSampler(supervisor.pids)
        fleet = Fleet(
            supervisor=supervisor,
            outsiders=outsiders,
            views=ViewBuilder(registry, resources),
            store=store,
            bus=bus,
            clock=clock,
            recent_events=history.recent,
        )
        # 4. The doors.
        reloader = Reloader(config, supervisor, load, bus, is_ready=lambda: state.is_ready)
        session = Session(tokens, clock)
        renderer = Renderer(__version__)
        live = LiveFleet(fleet, history, bus, clock, renderer)
        fleet_metrics = FleetMetrics(
            targets=lambda: [_target(view) for view in fleet.agents()],
            states=[*AgentState],
            desired_states=[*DesiredState],
            registry=metrics.registry,
            client=control,
            clock=clock,
        )
        about = ManagerEndpoints(
            is_ready=lambda: state.is_ready,
            shut_down=shut_down,
            render_metrics=fleet_metrics.render,
            metrics_content_type=CONTENT_TYPE,
        )
        operations: list[Operation] = [
            *Agents(fleet, registry, adapters).operations(),
            *Execute(Forwarder(router, forwarding, clock, token=token), router).operations(),
            *Logs(fleet, logs.tail).operations(),
            *RegistrationEndpoints(registry).operations(),
            *Events(history, bus).operations(),
            *ConfigEndpoints(reloader).operations(),
            *about.operations(),
        ]
        about.openapi_document = document(operations)
        problems = Problems()
        guard = Middleware(TokenGuard, tokens=tokens, problems=problems, also=_signed_in(session))
        pages = routes(WebDeps(fleet, logs, live, session, renderer, clock, status_of))
        app = Starlette(
            routes=[*routes_of(operations, [guard]), *pages],
            middleware=[
                Middleware(RequestMetrics, metrics=metrics, clock=clock),
                Middleware(RequestIds, problems=problems),
                Middleware(HostGuard, bound_host=bound_host, problems=problems, also=runtime.allowed_hosts),
            ],
            exception_handlers=problems.handlers(),
        )
        app.router.redirect_slashes = False
        # 5. What runs beside.
        tasks = TaskOwner()
        stack.push_async_callback(tasks.close)
        tasks.start("write event history", history.run())
        cleaning = clean(registry, outsiders.purge, clock, ttl_seconds=runtime.heartbeat_ttl_seconds)
        tasks.start("clean registry", cleaning)
        tasks.start("sample resources", resources.run(lambda: enforce_memory_limits(supervisor.all(), resources)))
        tasks.start("render dashboard", live.run(), may_end=True)
        tasks.start(
            "reload on SIGHUP", reload_on_hangup(lambda: reloader.apply(actor=HANGUP), stop=lambda: shut_down(False))
        )
        if runtime.watch_config:
            tasks.start("watch config", watch(config.path, reloader))
        yield Manager(app, bus, fleet, supervisor, state)


def _spawner(config: FleetConfig) -> Spawner:
    """Fork servers where the system has what they need, else one fresh process after the other."""
    listeners = PublicListeners()
    fresh = ExecSpawner(listeners)
    if not ForkSpawner.available():
        return fresh
    return ForkSpawner(config.state_directory, config.log_directory, fresh, listeners, os.environ)


def _target(view: AgentView) -> Target:
    return Target(
        agent_id=view.id,
        instance_id=view.instance_id,
        service_url=view.service_url,
        state=view.state,
        desired_state=view.desired_state,
        ready=view.ready,
        restarts=view.restarts,
        in_flight=view.in_flight,
        cpu_percent=view.cpu_percent,
        rss_bytes=view.rss_bytes,
        last_heartbeat_at=view.last_heartbeat_at,
    )


def _signed_in(session: Session) -> Callable[[Scope], bool]:
    """Whether a request carries the dashboard's cookie; the same-origin check stands before it."""

    def check(scope: Scope) -> bool:
        return session.valid(Request(scope).cookies.get(COOKIE_NAME))

    return check
