"""The manager's life, from the lock on its state directory to the end of the last agent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from agent_service.errors import AdapterError
from agent_service.http.server import HttpServer, loop_factory
from agent_service.http.signals import StopSignals
from agent_service.http.sockets import listen, url_of
from manager.app import Manager, open_manager
from manager.errors import ConfigError, ConfigIssue, UnknownAgent
from manager.events import Event, EventKind
from manager.settings import Secrets
from manager.specs.fleet_config import FleetConfig
from manager.store.lock import StateDirectoryLock
from manager.supervision.states import AgentState, DesiredState
from manager.supervision.views import AgentView
from manager.telemetry.manager_log import configure_logging

_PROGRESS_SECONDS = 0.5
_SETTLED = frozenset({AgentState.RUNNING, AgentState.PAUSED, AgentState.FAILED, AgentState.STOPPED})


class Console(Protocol):
    """Whoever tells the person at the terminal; every method returns at once."""

    def starting(self, url: str, config_path: Path, agent_count: int) -> None: ...

    def event(self, event: Event, view: AgentView | None) -> None: ...

    def ready(self, url: str, ready: int, total: int) -> None: ...

    def draining(self, views: list[AgentView]) -> None: ...

    def stopped(self, *, left_agents: bool) -> None: ...


class _StopRequest:
    """That the manager is to end, and whether its agents are to go on."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.leave_agents = False

    def ask(self, leave_agents: bool) -> None:
        """The first word counts."""
        if not self.asked.is_set():
            self.leave_agents = leave_agents
            self.asked.set()


def run_manager(
    config: FleetConfig,
    secrets: Secrets,
    *,
    load: Callable[[], FleetConfig],
    host: str,
    port: int,
    console: Console,
) -> int:
    """Run until told to stop; answers the exit status. `port` 0 takes a free one, `load` reads the config file anew.

    Raises `StateDirectoryBusy`, `StoreUnavailable`, or `ConfigError` where the address cannot be listened at.
    """
    # 1. One manager per state directory: before anything that another one could be disturbed by.
    lock = StateDirectoryLock(config.state_directory)
    lock.acquire()
    log = configure_logging(config.log_directory, level="info", redact=secrets.tokens())
    try:
        # 2. Bind before anything starts: a port in use costs no agent.
        listener = _listen(host, port)
        url = url_of(listener, host=_reachable(host))
        lock.announce(url)
        # 3. Live.
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_live(config, secrets, load, listener, host, url, console, lock))
    finally:
        lock.release()
        log.close()


async def _live(
    config: FleetConfig,
    secrets: Secrets,
    load: Callable[[], FleetConfig],
    listener: socket.socket,
    host: str,
    url: str,
    console: Console,
    lock: StateDirectoryLock,
) -> int:
    stop, now = _StopRequest(), asyncio.Event()
    loop = asyncio.get_running_loop()
    following = iter([stop.asked])

    def on_signal() -> None:
        # The second signal is ours too: it ends the agents, and only then the manager.
        loop.call_soon_threadsafe(next(following, now).set)
        signals.install()

    signals = StopSignals(on_signal)
    signals.install()
    opened = open_manager(
        config,
        secrets,
        load=load,
        url=url,
        bound_host=host,
        shut_down=stop.ask,
        check_state_directory=lock.check,
    )
    async with opened as manager:
        manager.bus.listen(lambda event: console.event(event, _view(manager, event.agent_id)))
        console.starting(url, config.path, len(config.agents))
        manager.bus.publish(EventKind.MANAGER_STARTED, f"The manager serves at {url}", url=url)
        async with HttpServer(manager.app).serving(listener) as http:
            # Adapters register over HTTP: they are started once it is served.
            await manager.supervisor.open()
            manager.state.is_ready = True
            settled = asyncio.create_task(_announce_ready(manager, url, console), name="announce readiness")
            await _first(stop.asked.wait(), asyncio.shield(http))
            settled.cancel()
            manager.state.is_ready = False
            if stop.leave_agents:
                manager.bus.publish(EventKind.MANAGER_STOPPING, "The manager stops; its agents go on without it")
                manager.state.leaves_agents = True
                await manager.supervisor.close()
            else:
                manager.bus.publish(EventKind.MANAGER_STOPPING, "The manager drains every agent and stops")
                await _drain(manager, now, console)
            # Event streams end here; the server would wait for their clients to hang up.
            manager.bus.close()
    console.stopped(left_agents=stop.leave_agents)
    return 0


async def _announce_ready(manager: Manager, url: str, console: Console) -> None:
    """Say once how the fleet stands, when every agent that is to run has come up or failed."""
    with manager.bus.subscribe() as events:
        while True:
            wanted = [view for view in manager.fleet.agents() if view.desired_state is not DesiredState.STOPPED]
            if all(view.state in _SETTLED or manager.supervisor.needs_person(view.id) for view in wanted):
                break
            await anext(events)
    # One that is stopped all the same lacks an extra or has done its work.
    console.ready(url, sum(view.ready for view in wanted), sum(view.state is not AgentState.STOPPED for view in wanted))


async def _drain(manager: Manager, now: asyncio.Event, console: Console) -> None:
    draining = asyncio.create_task(manager.supervisor.drain(), name="drain every agent")
    impatient = asyncio.create_task(now.wait(), name="second signal")
    while not draining.done():
        console.draining(manager.fleet.agents())
        await asyncio.wait({draining, impatient}, timeout=_PROGRESS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if impatient.done() and not draining.done():
            manager.supervisor.kill_all()
            await asyncio.wait({draining})
    impatient.cancel()
    draining.result()


async def _first(*awaitables: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _view(manager: Manager, agent_id: str | None) -> AgentView | None:
    # Not by the listing: with thousands of agents that is too much for each event.
    try:
        return manager.fleet.agent(agent_id) if agent_id else None
    except UnknownAgent:
        return None


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except AdapterError as error:
        issue = ConfigIssue("--host/--port", f"{host}:{port}", str(error))
        raise ConfigError("the manager's address", [issue]) from error


def _reachable(host: str) -> str:
    """Where processes on this machine reach a manager that is bound to `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
