"""The serving life of one adapter, from the bound socket to the end of the drain."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from agent_service.app import build_app
from agent_service.contract import AdapterAction, Registration, RegistrationAnswer
from agent_service.drain import drain
from agent_service.errors import AdapterError
from agent_service.http.guards import is_wildcard
from agent_service.http.server import HttpServer, loop_factory
from agent_service.http.signals import StopSignals
from agent_service.http.sockets import listen, url_of
from agent_service.launch import Launch, is_loopback
from agent_service.lifecycle import Ending, Lifecycle, utc_now
from agent_service.logs import LogReader
from agent_service.manager_address import ManagerAddress
from agent_service.manager_client import kept_registered
from agent_service.process import THREAD_GRACE_SECONDS, all_end, staying_threads
from agent_service.runtimes.entry_point import load_runtime
from agent_service.runtimes.protocol import Runtime
from agent_service.stacks import enable_stack_dumps
from agent_service.tasks import Tasks
from agent_service.tracing.opening import open_tracing
from agent_service.tracing.port import TaskTracing

log = structlog.stdlib.get_logger(__name__)

# Threads of the event loop's own pool, which LangChain uses for synchronous nodes and tools.
LOOP_THREADS = 256


@dataclass(frozen=True)
class Ended:
    """How a serving life ended, and the port that it had."""

    ending: Ending
    port: int


def serve(
    launch: Launch, read_log: LogReader, public: socket.socket | None = None, secrets: Collection[str] = ()
) -> Ended:
    """Serve until stopped. Main thread only. Raises `PortInUse`, `ConfigError`, `AdapterError`; KeyboardInterrupt
    when it is stopped before it serves.

    `public`: a listening socket that is served besides our own. Whoever started this process keeps it, and other
    instances of the agent may share it. `secrets`: values that no trace may show.
    """
    began = time.monotonic()
    # 1. Nothing is in flight yet: a stop during the start interrupts it.
    signals = StopSignals(on_stop=_interrupt)
    signals.install()
    enable_stack_dumps()
    # 2. Bind before the slow part: a taken port shows at once, early clients wait in the backlog.
    listener = listen(launch.host, launch.port)
    port = listener.getsockname()[1]
    # 3. Import the agent's code, outside of any event loop: it may run one of its own.
    runtime = load_runtime(launch.spec)
    # 4. Serve, drain, close.
    runner = asyncio.Runner(loop_factory=loop_factory())
    try:
        ending = runner.run(_live(launch, runtime, (listener, public), read_log, signals, began, secrets))
    finally:
        # Closing the loop waits for its threads; where one does not end, the process leaves without it.
        if all_end(staying_threads(), THREAD_GRACE_SECONDS):
            runner.close()
    return Ended(ending, port)


def _interrupt() -> None:
    raise KeyboardInterrupt


async def _live(
    launch: Launch,
    runtime: Runtime,
    listeners: tuple[socket.socket, socket.socket | None],
    read_log: LogReader,
    signals: StopSignals,
    began: float,
    secrets: Collection[str],
) -> Ending:
    spec = launch.spec
    own, public = listeners
    lifecycle = Lifecycle(
        launch.initial_status,
        drain_timeout_seconds=spec.drain_timeout_seconds,
        hands_over=public is not None and launch.managed,
    )
    tasks = Tasks(spec, lifecycle)
    manager = ManagerAddress(launch.manager_url)
    tracing = open_tracing(launch, runtime, tasks.metrics.registry, secrets)
    # 1. From here on the first signal is a stop with a drain.
    loop = asyncio.get_running_loop()
    signals.on_stop = lambda: loop.call_soon_threadsafe(lifecycle.act, AdapterAction.STOP)
    app = build_app(
        spec,
        runtime,
        lifecycle=lifecycle,
        tasks=tasks,
        instance_id=launch.instance_id,
        started_at=utc_now(),
        read_log=read_log,
        manager=manager,
        tokens=launch.tokens,
        bound_host=launch.host,
        public_port=None if public is None else public.getsockname()[1],
        tracing=tracing,
    )
    # 2. Listen: /health and /status answer, /execute says 503 until the runtime is open.
    server = HttpServer(app)
    async with _closing(runtime), _sent(tracing), server.serving(own) as http:
        # 3. Ready: only now for the public, which waits in the backlog rather than be told 503.
        if await _open(runtime, lifecycle):
            if public is not None:
                await server.join(public)
            url = url_of(own, host=_advertised_host(launch))
            log.info("Agent ready", url=url, startup_ms=round((time.monotonic() - began) * 1000))
            # 4. Registered, until drained.
            async with _registered(launch, manager, url, lifecycle, tasks, tracing):
                await _until_ending(lifecycle, http)
                # 5. The successor takes new connections; until it is there, they wait in the backlog.
                if public is not None and lifecycle.handing_over:
                    await server.leave(public, within_seconds=lifecycle.drain_seconds_left())
                    lifecycle.handing_over = False
                await drain(lifecycle, tasks)
        else:
            lifecycle.finish()
        # 6. Leaving delivers the answers that are still on their way, then closes the runtime.
    log.info("Agent stopped", ending=lifecycle.ending)
    return lifecycle.ending or Ending.STOP


@asynccontextmanager
async def _closing(runtime: Runtime) -> AsyncIterator[None]:
    """On leaving, the runtime and the event loop's threads are let go, without waiting for code that does not end."""
    pool = ThreadPoolExecutor(LOOP_THREADS, thread_name_prefix="loop")
    asyncio.get_running_loop().set_default_executor(pool)
    try:
        yield
    finally:
        await runtime.close()
        pool.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def _sent(tracing: TaskTracing) -> AsyncIterator[None]:
    """On leaving, the spans of the last tasks are sent, for a moment at most."""
    try:
        yield
    finally:
        await tracing.close()


async def _open(runtime: Runtime, lifecycle: Lifecycle) -> bool:
    """Open the runtime, unless a stop is faster. Raises `EntryPointError`."""
    opening = asyncio.create_task(runtime.open(), name="opening of the runtime")
    ending = asyncio.create_task(lifecycle.ending_asked.wait(), name="stop during the start")
    try:
        await asyncio.wait({opening, ending}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
        opening.cancel()
        await asyncio.wait({opening})
    if opening.cancelled():
        return False
    opening.result()
    lifecycle.become_ready()
    return True


async def _until_ending(lifecycle: Lifecycle, http: asyncio.Task[None]) -> None:
    ending = asyncio.create_task(lifecycle.ending_asked.wait(), name="ending asked")
    try:
        await asyncio.wait({ending, http}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
    if http.done():
        raise AdapterError("The HTTP server ended by itself; the log has the reason.") from http.exception()


@asynccontextmanager
async def _registered(
    launch: Launch, manager: ManagerAddress, url: str, lifecycle: Lifecycle, tasks: Tasks, tracing: TaskTracing
) -> AsyncIterator[None]:
    if manager.url is None:
        yield
        return
    registration = Registration(
        id=launch.spec.id, service_url=url, instance_id=launch.instance_id, metadata=launch.spec.metadata
    )

    def registered(answer: RegistrationAnswer) -> None:
        tracing.manager_has_set(answer.tracing)

    async with kept_registered(manager, launch.token, registration, tasks.report, lifecycle.activity, registered):
        yield


def _advertised_host(launch: Launch) -> str:
    """Bound to every address, the one by which the manager reaches us."""
    if not is_wildcard(launch.host):
        return launch.host
    manager = (launch.manager_url or "http://127.0.0.1").partition("://")[2]
    return "127.0.0.1" if is_loopback(manager.rpartition(":")[0] or manager) else socket.gethostname()
