"""Wiring only: from config and secrets to the objects that make a manager, and the Starlette app over them."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Scope

from agent_service.http.client.connector import Connector
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
from manager.api.shortcut import Shortcut
from manager.api.threads import Threads
from manager.clock import SystemClock
from manager.events import EventBus
from manager.forwarding.forwarder import Forwarder
from manager.forwarding.idempotency import Idempotency, KeyLimits
from manager.forwarding.pool import Pool
from manager.hangup import ACTOR as HANGUP
from manager.hangup import reload_on_hangup
from manager.registry.circuit import CircuitState
from manager.registry.cleaner import clean
from manager.registry.registry import Registry
from manager.registry.routing import Router
from manager.settings import Secrets
from manager.specs.fleet_config import FleetConfig
from manager.store.directory_watch import watch_state_directory
from manager.store.history import EventHistory, next_event_id
from manager.store.store import Store
from manager.supervision.config_watch import watch
from manager.supervision.exec_spawner import ExecSpawner
from manager.supervision.fleet import Fleet
from manager.supervision.fork_spawner import ForkSpawner
from manager.supervision.launching import Launcher
from manager.supervision.listening import listening_urls
from manager.supervision.memory_limits import enforce_memory_limits
from manager.supervision.outsiders import Outsiders
from manager.supervision.process import Spawner
from manager.supervision.reloading import Reloader
from manager.supervision.resources import ResourceSampler
from manager.supervision.routes import policy_of
from manager.supervision.states import AgentState, DesiredState
from manager.supervision.supervisor import Supervisor
from manager.supervision.tools import Tools
from manager.supervision.view_builder import ViewBuilder
from manager.supervision.views import AgentView
from manager.tasks import TaskOwner
from manager.telemetry.access_log import AccessLog
from manager.telemetry.event_log import log_events
from manager.telemetry.exposition import CONTENT_TYPE
from manager.telemetry.forward_metrics import ForwardMetrics
from manager.telemetry.logs import AgentLogs
from manager.telemetry.manager_log import FILE_NAME
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

    app: ASGIApp
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
    check_state_directory: Callable[[], None],
) -> AsyncIterator[Manager]:
    """Everything but the HTTP server, opened; agents start with `supervisor.open`.

    `load` reads the config file anew; `shut_down` (whether to leave the agents) ends the manager;
    `check_state_directory` raises `StoreUnavailable` once that has been removed. Raises `StoreUnavailable`.
    """

    def is_ready() -> bool:
        check_state_directory()
        return state.is_ready

    async with AsyncExitStack() as stack:
        runtime, clock = config.runtime, SystemClock()
        state = ServingState()
        # 1. What survives.
        store = await Store.open(config.state_directory, check_state_directory)
        stack.push_async_callback(store.close)
        bus = EventBus(clock, next_id=await next_event_id(store))
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
        connector = Connector()
        pool = Pool(clock, connector)
        stack.callback(pool.close)
        tokens = secrets.tokens()
        token = tokens[0] if tokens else None
        adapters = AdapterClient(control, tokens=tokens)
        registry = Registry(
            clock,
            bus,
            interval_seconds=runtime.heartbeat_interval_seconds,
            ttl_seconds=runtime.heartbeat_ttl_seconds,
        )
        router = Router(registry, clock, max_open_requests=runtime.max_open_requests)
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
                state_directory=config.state_directory,
            ),
            adapters=adapters,
            last_words=logs.last_words,
            log_size=logs.size,
            listening=listening_urls,
            kill_grace_seconds=runtime.kill_grace_seconds,
            silence_limit_seconds=runtime.heartbeat_ttl_seconds,
        )
        supervisor = Supervisor(config.agents, tools)
        stack.push_async_callback(supervisor.close)
        await supervisor.restore()
        outsiders = Outsiders(
            registry,
            router,
            adapters,
            bus,
            clock,
            policy=policy_of(runtime),
            lost_retention_seconds=runtime.lost_retention_seconds,
        )
        resources = ResourceSampler(supervisor.pids)
        fleet = Fleet(
            supervisor=supervisor,
            outsiders=outsiders,
            views=ViewBuilder(registry, resources, router),
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
            connect=connector.connect,
            clock=clock,
        )
        about = ManagerEndpoints(
            is_ready=is_ready,
            shut_down=shut_down,
            render_metrics=fleet_metrics.render,
            metrics_content_type=CONTENT_TYPE,
        )
        problems = Problems(config.log_directory / FILE_NAME)
        forwarder = Forwarder(router, pool, clock, token=token)
        idempotency = Idempotency(
            forwarder,
            registry,
            store.keyed_answers,
            clock,
            KeyLimits(
                runtime.idempotency_retention_seconds,
                runtime.idempotency_max_answer_bytes,
                runtime.idempotency_max_stored_bytes,
            ),
        )
        stack.push_async_callback(idempotency.close)
        execute = Execute(idempotency, router, problems, ForwardMetrics(metrics.registry), clock)
        operations: list[Operation] = [
            *Agents(fleet, registry, adapters).operations(),
            *execute.operations(),
            *Logs(fleet, logs.read).operations(),
            *Threads(fleet, registry, adapters).operations(),
            *RegistrationEndpoints(registry).operations(),
            *Events(history, bus, fleet).operations(),
            *ConfigEndpoints(reloader).operations(),
            *about.operations(),
        ]
        about.openapi_document = document(operations)
        guard = Middleware(TokenGuard, tokens=tokens, problems=problems, also=_signed_in(session))
        pages = routes(WebDeps(fleet, logs, live, session, renderer, clock, status_of))
        api = routes_of(operations, [guard])
        starlette = Starlette(routes=[*api, *pages], exception_handlers=problems.handlers())
        starlette.router.redirect_slashes = False
        shortcut = Shortcut(starlette, next(route for route in api if route.endpoint is execute))
        guarded = HostGuard(shortcut, bound_host=bound_host, problems=problems, also=runtime.allowed_hosts)
        access_log = AccessLog(config.log_directory, redact=tokens)
        stack.callback(access_log.close)
        app = RequestMetrics(
            RequestIds(guarded, problems=problems), metrics=metrics, clock=clock, log=access_log.record
        )
        # 5. What runs beside.
        tasks = TaskOwner()
        stack.push_async_callback(tasks.close)
        tasks.start("write event history", history.run())
        tasks.start("watch state directory", watch_state_directory(check_state_directory, bus))
        tasks.start("prune kept answers", idempotency.run())
        tasks.start("write access log", access_log.run())
        cleaning = clean(registry, outsiders.purge, clock, ttl_seconds=runtime.heartbeat_ttl_seconds)
        tasks.start("clean registry", cleaning)
        tasks.start("sample resources", resources.run(lambda: enforce_memory_limits(supervisor.all(), resources)))
        tasks.start("render dashboard", live.run(), may_end=True)
        tasks.start(
            "reload on SIGHUP", reload_on_hangup(lambda: reloader.apply(actor=HANGUP), stop=lambda: shut_down(False))
        )
        if runtime.watch_config:
            tasks.start("watch config", watch(config.path, reloader))
        # What has been made so far lives as long as the manager: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
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
        # A sidecar has no page of ours.
        service_url=None if view.sidecar else view.service_url,
        state=view.state,
        desired_state=view.desired_state,
        ready=view.ready,
        restarts=view.restarts,
        in_flight=view.in_flight,
        cpu_percent=view.cpu_percent,
        rss_bytes=view.rss_bytes,
        last_heartbeat_at=view.last_heartbeat_at,
        queued=view.queued,
        is_answering=view.circuit is CircuitState.CLOSED,
    )


def _signed_in(session: Session) -> Callable[[Scope], bool]:
    """Whether a request carries the dashboard's cookie; the same-origin check stands before it."""

    def check(scope: Scope) -> bool:
        return session.valid(Request(scope).cookies.get(COOKIE_NAME))

    return check
