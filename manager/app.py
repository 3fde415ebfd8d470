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

from agent_service.definition import Tracing
from agent_service.http.client.connector import Connector
from agent_service.http.guards import HostGuard, RequestIds, TokenGuard
from agent_service.http.listeners import PublicListeners
from agent_service.log_files import LogLimits
from manager.adapter_client import AdapterClient
from manager.api.agents import Agents
from manager.api.config import ConfigEndpoints
from manager.api.event_query import read_filter
from manager.api.events import Events
from manager.api.execute import Execute
from manager.api.logs import Logs
from manager.api.manager import ManagerEndpoints
from manager.api.openapi import document
from manager.api.operation import Operation, routes_of
from manager.api.problem import Problems, status_of
from manager.api.registration import RegistrationEndpoints
from manager.api.series import SeriesEndpoints
from manager.api.shortcut import Shortcut
from manager.api.stacks import Stacks
from manager.api.targets import Targets
from manager.api.threads import Threads
from manager.api.tracing import TracingEndpoints
from manager.api.webhooks import WebhookEndpoints
from manager.clock import SystemClock
from manager.events import Event, EventBus, EventKind
from manager.forwarding.forwarder import Forwarder
from manager.forwarding.idempotency import Idempotency, KeyLimits
from manager.forwarding.pool import Pool
from manager.hangup import ACTOR as HANGUP
from manager.hangup import reload_on_hangup
from manager.notifications.metrics import WebhookMetrics
from manager.notifications.notifier import Notifier
from manager.notifications.sender import Sender
from manager.registry.cleaner import clean
from manager.registry.registry import Registry
from manager.registry.routing import Router
from manager.settings import Secrets
from manager.specs.fleet_config import FleetConfig
from manager.store.directory_watch import watch_state_directory
from manager.store.history import EventHistory, Retention, next_event_id
from manager.store.store import Store
from manager.supervision.config_watch import watch
from manager.supervision.exec_spawner import ExecSpawner
from manager.supervision.fleet import Fleet
from manager.supervision.fork_spawner import ForkSpawner
from manager.supervision.identity import fleet_of
from manager.supervision.introspection import Introspection
from manager.supervision.launching import Launcher
from manager.supervision.listening import listening_urls
from manager.supervision.memory_limits import enforce_memory_limits
from manager.supervision.outsiders import Outsiders
from manager.supervision.process import Spawner
from manager.supervision.reloading import Reloader
from manager.supervision.resources import ResourceSampler
from manager.supervision.routes import policy_of
from manager.supervision.stack_inspection import StackInspection
from manager.supervision.states import AgentState, DesiredState
from manager.supervision.supervisor import Supervisor
from manager.supervision.tools import Tools
from manager.supervision.view_builder import ViewBuilder
from manager.tasks import TaskOwner
from manager.telemetry.access_log import AccessLog
from manager.telemetry.bookkeeping import Bookkeeping
from manager.telemetry.event_log import log_events
from manager.telemetry.exposition import CONTENT_TYPE
from manager.telemetry.forward_metrics import ForwardMetrics
from manager.telemetry.lifecycle_metrics import LifecycleMetrics
from manager.telemetry.log_keeper import LogKeeper
from manager.telemetry.log_reading.reader import LogReader
from manager.telemetry.logs import AgentLogs
from manager.telemetry.loop_lag import watch_loop
from manager.telemetry.manager_log import FILE_NAME
from manager.telemetry.manager_metrics import ManagerMetrics
from manager.telemetry.metrics import FleetMetrics
from manager.telemetry.request_metrics import RequestMetrics
from manager.telemetry.self_report import Identity, SelfReporter
from manager.telemetry.series import FleetSeries
from manager.telemetry.tracing.environment import read_settings, tracing_variables
from manager.telemetry.tracing.opening import open_forward_tracing
from manager.telemetry.tracing.policies import Policies
from manager.telemetry.tracing.telling import TracingTeller
from manager.telemetry.traffic import Traffic
from manager.version import __version__
from web.live import LiveFleet
from web.rendering import Renderer
from web.routes import WebDeps, exception_handlers, routes
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
        metrics = ManagerMetrics(version=__version__)
        store = await Store.open(config.state_directory, check_state_directory, metrics.observe_store)
        stack.push_async_callback(store.close)
        bus = EventBus(clock, next_id=await next_event_id(store.events))
        retention = Retention(runtime.event_retention_days, runtime.event_retention_count)
        sender = Sender(clock, os.environ, config.project_directory)
        webhook_metrics = WebhookMetrics(metrics.registry)
        notifier = Notifier(runtime.webhooks, store.deliveries, sender, bus, clock, webhook_metrics)
        history = EventHistory(store.events, clock, retention=retention, notifications=notifier)
        stack.push_async_callback(history.close)
        stack.push_async_callback(notifier.close)
        # 2. Who listens.
        lifecycle_metrics = LifecycleMetrics(clock)
        bus.listen(history.record)
        log_events(bus)
        metrics.count_events(bus)
        lifecycle_metrics.listen(bus)
        environ = {**os.environ, **tracing_variables(runtime, os.environ)}
        traced, tracing = read_settings(environ), None
        policies = Policies(
            lambda agent_id: _defined_tracing(supervisor, agent_id),
            traced.sample_rate if traced else 1,
            store.tracing,
            clock,
        )
        await policies.restore()
        await policies.retain({agent.id for agent in config.agents})
        if traced is not None:
            tracing = open_forward_tracing(traced, policies.of, metrics.registry)
            stack.push_async_callback(tracing.close)
        # 3. The fleet.
        unlimited = httpx.Limits(max_connections=None)
        control = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, limits=unlimited))
        connector = Connector()
        pool = Pool(clock, connector)
        stack.callback(pool.close)
        tokens = secrets.tokens()
        adapters = AdapterClient(control, tokens=tokens)
        teller = TracingTeller(adapters, policies.override_of, is_exporting=tracing is not None)
        registry = Registry(
            clock,
            bus,
            interval_seconds=runtime.heartbeat_interval_seconds,
            ttl_seconds=runtime.heartbeat_ttl_seconds,
        )
        router = Router(registry, clock, max_open_requests=runtime.max_open_requests)
        log_limits = LogLimits(runtime.log_max_bytes, runtime.log_max_files)
        logs = AgentLogs(config.log_directory, log_limits)
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
                environ=environ,
                manager_url=url,
                tokens=secrets,
                project_directory=config.project_directory,
                log_file=logs.path,
                shares_ports=spawner.shares_ports,
                state_directory=config.state_directory,
                log_limits=log_limits,
                begin_log=logs.begin,
            ),
            adapters=adapters,
            last_words=logs.last_words,
            log_size=logs.size,
            announce_stacks=logs.announce_stacks,
            listening=listening_urls,
            tell_tracing=teller.tell,
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
        introspection = Introspection(fleet.agent, registry, adapters)
        # 4. The doors.
        bookkeeping = Bookkeeping()
        reloader = Reloader(config, supervisor, load, bus, is_ready=lambda: state.is_ready)
        session = Session(tokens, clock)
        renderer = Renderer(__version__)
        traffic = Traffic()
        forward_metrics = ForwardMetrics(traffic)
        targets = Targets(fleet, resources.usage)
        fleet_metrics = FleetMetrics(
            targets=targets.all,
            states=[*AgentState],
            desired_states=[*DesiredState],
            registry=metrics.registry,
            connect=connector.connect,
            clock=clock,
            sources=[forward_metrics.families, lifecycle_metrics.families],
        )
        series = FleetSeries(
            agents=fleet.agents,
            traffic=traffic,
            vitals=metrics.vitals.take,
            clock=clock,
            keepers=[forward_metrics.retain, lifecycle_metrics.retain],
        )
        live = LiveFleet(fleet, history, series, bus, clock, renderer)
        reporter = SelfReporter(
            Identity(
                version=__version__,
                started_at=clock.now(),
                url=url,
                config_path=config.path,
                state_directory=config.state_directory,
                log_directory=config.log_directory,
                token_required=bool(tokens),
            ),
            newest=lambda: series.manager(points=1),
            agents=lambda: len(fleet.agents()),
            events_waiting=lambda: history.waiting,
            fork_servers=spawner.servers if isinstance(spawner, ForkSpawner) else list,
        )
        about = ManagerEndpoints(
            is_ready=is_ready,
            shut_down=shut_down,
            report=reporter.read,
            render_metrics=bookkeeping.before(fleet_metrics.render),
            metrics_content_type=CONTENT_TYPE,
        )
        problems = Problems(config.log_directory / FILE_NAME)
        forwarder = Forwarder(router, pool, clock, tokens=tokens)
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
        execute = Execute(idempotency, router, problems, forward_metrics, clock, tracing, bookkeeping.later)
        log_reader = LogReader(logs, is_over=lambda: bus.is_closed)
        operations: list[Operation] = [
            *Agents(fleet, introspection).operations(),
            *execute.operations(),
            *Logs(fleet, log_reader, logs, logs.lost_note, clock).operations(),
            *Threads(introspection, adapters).operations(),
            *RegistrationEndpoints(registry, policies.override_of).operations(),
            *TracingEndpoints(fleet, registry, policies, teller.tell, is_exporting=tracing is not None).operations(),
            *Events(history, bus, fleet, clock).operations(),
            *WebhookEndpoints(notifier).operations(),
            *Stacks(
                StackInspection(fleet.agent, supervisor.adapters_of, adapters, logs.path, logs.announce_stacks)
            ).operations(),
            *ConfigEndpoints(reloader).operations(),
            *SeriesEndpoints(series, fleet).operations(),
            *targets.operations(),
            *about.operations(),
        ]
        about.openapi_document = document(operations)
        guard = Middleware(TokenGuard, tokens=tokens, problems=problems, also=_signed_in(session))
        web = WebDeps(
            fleet=fleet,
            logs=log_reader,
            live=live,
            history=history,
            reloader=reloader,
            session=session,
            renderer=renderer,
            clock=clock,
            status_of=status_of,
            read_event_filter=read_filter,
            series=series,
            introspection=introspection,
            read_self=reporter.read,
            webhooks=notifier,
        )
        pages = routes(web)
        api = routes_of(operations, [guard])
        handlers = exception_handlers(web, problems.handlers())
        starlette = Starlette(routes=[*api, *pages], exception_handlers=handlers)
        starlette.router.redirect_slashes = False
        shortcut = Shortcut(starlette, next(route for route in api if route.endpoint is execute))
        guarded = HostGuard(shortcut, bound_host=bound_host, problems=problems, also=runtime.allowed_hosts)
        access_log = AccessLog(config.log_directory, redact=tokens)
        stack.callback(access_log.close)
        stack.callback(bookkeeping.catch_up)
        app = RequestMetrics(
            RequestIds(guarded, problems=problems),
            metrics=metrics,
            clock=clock,
            log=access_log.record,
            later=bookkeeping.later,
        )
        # 5. What runs beside.
        tasks = TaskOwner()
        stack.push_async_callback(tasks.close)
        tasks.start("write event history", history.run())
        tasks.start("prune event history", history.prune())
        tasks.start("prune notifications", notifier.prune())
        notifier.start()
        bus.listen(_when_reloaded(lambda: notifier.apply(reloader.running.runtime.webhooks)))
        bus.listen(_when_reloaded(lambda: _forget_tracing(policies, reloader, tasks)))
        tasks.start("watch state directory", watch_state_directory(check_state_directory, bus))
        tasks.start("prune kept answers", idempotency.run())
        tasks.start("write access log", access_log.run())
        tasks.start("keep logs within limits", LogKeeper(config.log_directory, log_limits).run())
        cleaning = clean(registry, outsiders.purge, clock, ttl_seconds=runtime.heartbeat_ttl_seconds)
        tasks.start("clean registry", cleaning)
        tasks.start("sample resources", resources.run(lambda: enforce_memory_limits(supervisor.all(), resources)))
        tasks.start("take points of the time series", series.run())
        tasks.start("watch the event loop", watch_loop(clock, metrics.observe_loop_lag))
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
    fresh = ExecSpawner(listeners, fleet_of(config.state_directory))
    if not ForkSpawner.available():
        return fresh
    return ForkSpawner(config.state_directory, config.log_directory, fresh, listeners, os.environ)


def _when_reloaded(act: Callable[[], None]) -> Callable[[Event], None]:
    def listener(event: Event) -> None:
        if event.kind is EventKind.CONFIG_RELOADED:
            act()

    return listener


def _forget_tracing(policies: Policies, reloader: Reloader, tasks: TaskOwner) -> None:
    """Of agents that have left the config."""
    configured = {agent.id for agent in reloader.running.agents}
    tasks.start("forget what was set of traces", policies.retain(configured), may_end=True)


def _defined_tracing(supervisor: Supervisor, agent_id: str) -> Tracing | None:
    found = supervisor.get(agent_id)
    definition = None if found is None else found.agent.definition
    return None if definition is None else definition.tracing


def _signed_in(session: Session) -> Callable[[Scope], bool]:
    """Whether a request carries the dashboard's cookie; the same-origin check stands before it."""

    def check(scope: Scope) -> bool:
        return session.valid(Request(scope).cookies.get(COOKIE_NAME))

    return check
