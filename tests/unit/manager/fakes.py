"""The manager's surroundings in memory: time that the test moves, processes that it ends, adapters that it plays."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
from structlog.testing import capture_logs

from agent_service.contract import AdapterAction, AdapterStatus, Heartbeat, Registration, StatusReport, Unregistration
from manager.adapter_client import AdapterClient
from manager.errors import StoreUnavailable
from manager.events import Event, EventBus, EventKind
from manager.registry.instance import RegisteredInstance
from manager.registry.registry import Registry
from manager.registry.routing import RoutePolicy, Router
from manager.settings import Secrets
from manager.specs.models import AgentConfig
from manager.store.store import DesiredRecord, InstanceRecord
from manager.supervision.addresses import Addresses
from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.launching import Launcher
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.outsiders import Outsiders
from manager.supervision.process import Exit, Launch, ProcessIdentity
from manager.supervision.states import AgentState, DesiredState
from manager.supervision.tools import Tools

T = TypeVar("T")

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TTL_SECONDS = 30.0
KILL_GRACE_SECONDS = 5.0
SILENCE_LIMIT_SECONDS = 60.0
_TURN_SECONDS = 1e-6
_READINGS_PER_TURN = 100_000
_TURNS = 200_000


class FakeClock:
    """Stands still until it is moved. Reading it for ever within one turn of the loop is an error, not a hang."""

    def __init__(self) -> None:
        self._seconds = 1000.0
        self._readings = 0

    def now(self) -> datetime:
        return START + timedelta(seconds=self._seconds - 1000.0)

    def monotonic(self) -> float:
        self._readings += 1
        if self._readings == _READINGS_PER_TURN:
            raise AssertionError("A task spins without ever letting go of the event loop.")
        return self._seconds

    def advance(self, seconds: float) -> None:
        self._seconds += seconds
        self._readings = 0


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a fake clock: where everybody waits, time jumps to the next deadline."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        super().__init__(_ClockSelector(clock))

    def time(self) -> float:
        return self._clock.monotonic()


class _ClockSelector(selectors.SelectSelector):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._turns += 1
        if self._turns == _TURNS:
            raise AssertionError("A task wakes again and again without waiting for anything.")
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "Nothing can happen any more: every task waits for what never comes."
            self._clock.advance(max(timeout, _TURN_SECONDS))
        return ready


def run(scenario: Coroutine[Any, Any, T], clock: FakeClock | None = None) -> T:
    """Run a scenario in virtual time; hours of it take milliseconds."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock or FakeClock())) as runner:
        return runner.run(scenario)


async def until(condition: Callable[[], object], *, within: float = 3600.0) -> None:
    """Let (virtual) time pass until `condition` holds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        waited = loop.time() - began
        assert waited < within, "What the test waits for did not come about."
        await asyncio.sleep(0.01 if waited < 30 else 0.1)


async def advance(seconds: float) -> None:
    """Let (virtual) time pass."""
    await asyncio.sleep(seconds)


class FakeProcess:
    """Ends when the test says so; obeys SIGTERM and SIGKILL unless told otherwise. `signals` are those sent to it."""

    def __init__(self, pid: int, *, on_terminate: Exit | None = None, survives_kill: bool = False) -> None:
        self.identity = ProcessIdentity(pid=pid, created_at=str(pid * 10), boot_id="boot")
        self.exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.on_terminate = on_terminate
        self.survives_kill = survives_kill
        self.signals: list[str] = []
        self.is_swept = False
        """Whether what it left in its process group was ended after it."""

    def end(self, code: int | None = None, signal: int | None = None) -> None:
        """The process is over."""
        if not self.exited.done():
            self.exited.set_result(Exit(code=code, signal=signal))

    def terminate(self) -> None:
        self.signals.append("TERM")
        if self.on_terminate is not None:
            self.end(self.on_terminate.code, self.on_terminate.signal)

    def kill(self) -> None:
        if self.exited.done():
            self.is_swept = True
            return
        self.signals.append("KILL")
        if not self.survives_kill:
            self.end(signal=9)


class FakeSpawner:
    """Starts `FakeProcess`es. `hold` keeps a spawn waiting, `error` refuses it, `on_spawn` runs before it returns."""

    shares_ports = False

    def __init__(self) -> None:
        self.launches: list[Launch] = []
        self.processes: list[FakeProcess] = []
        self.hold: asyncio.Event | None = None
        self.error: Exception | None = None
        self.on_spawn: Callable[[Launch, FakeProcess], None] = lambda _launch, _process: None
        self.on_terminate: Exit | None = Exit(code=0)
        self.exits: dict[str, Exit] = {}
        self.left_behind: dict[str, tuple[str, ProcessIdentity]] = {}
        self.adopted: list[FakeProcess] = []
        self.forgotten: list[str] = []
        self.released: list[str] = []
        self.can_reclaim = True
        self.reclaimed: list[tuple[str, int, int]] = []

    async def collect(self) -> dict[str, Exit]:
        return self.exits

    def adopt(self, identity: ProcessIdentity, instance_id: str) -> FakeProcess:
        self.adopted.append(FakeProcess(identity.pid))
        return self.adopted[-1]

    def strays(self) -> dict[str, tuple[str, ProcessIdentity]]:
        return self.left_behind

    def forget(self, instance_id: str) -> None:
        self.forgotten.append(instance_id)

    async def reclaim(self, agent_id: str, port: int, identity: ProcessIdentity) -> bool:
        self.reclaimed.append((agent_id, port, identity.pid))
        return self.can_reclaim

    async def release(self, agent_id: str) -> None:
        self.released.append(agent_id)

    async def aclose(self, *, leave_running: bool) -> None:
        return None

    async def spawn(self, launch: Launch) -> FakeProcess:
        self.launches.append(launch)
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        process = FakeProcess(100 + len(self.processes), on_terminate=self.on_terminate)
        self.processes.append(process)
        self.on_spawn(launch, process)
        # What the process does at once can overtake the news that it was started.
        await asyncio.sleep(0.001)
        return process


class FakeStore:
    """The store's tables in memory; `refusing` is a full disk. `journal` keeps the order of what was written."""

    def __init__(self) -> None:
        self.refusing = False
        self.desired: dict[str, DesiredRecord] = {}
        self.records: dict[str, InstanceRecord] = {}
        self.journal: list[str] = []

    async def desired_states(self) -> dict[str, DesiredRecord]:
        await self._work("desired_states")
        return dict(self.desired)

    async def set_desired(self, record: DesiredRecord) -> None:
        await self._work("set_desired")
        self.desired[record.agent_id] = record

    async def instances(self) -> list[InstanceRecord]:
        await self._work("instances")
        return list(self.records.values())

    async def add_instance(self, record: InstanceRecord) -> None:
        await self._work("add_instance")
        self.records[record.instance_id] = record

    async def note_service_url(self, instance_id: str, service_url: str) -> None:
        await self._work("note_service_url")
        if instance_id in self.records:
            self.records[instance_id] = replace(self.records[instance_id], service_url=service_url)

    async def remove_instance(self, instance_id: str) -> None:
        await self._work("remove_instance")
        self.records.pop(instance_id, None)

    async def _work(self, what: str) -> None:
        await asyncio.sleep(0)
        if self.refusing:
            raise StoreUnavailable("The disk is full; make room.")
        self.journal.append(what)


_STATUS_AFTER = {
    AdapterAction.PAUSE: AdapterStatus.PAUSED,
    AdapterAction.RESUME: AdapterStatus.RUNNING,
    AdapterAction.STOP: AdapterStatus.STOPPING,
    AdapterAction.RESTART: AdapterStatus.STOPPING,
}


@dataclass(frozen=True)
class Call:
    """One action that an adapter was asked for."""

    url: str
    action: AdapterAction
    timeout_seconds: float | None = None


class FakeAdapters:
    """Every adapter of the fleet behind one transport: takes actions and says the status that follows.

    `refusal` answers actions with that HTTP status, `unreachable` refuses connections, `silent` never answers.
    `locations`: the manager's URL that each was told; `knows_no_location` answers 404 to that. `reloads`: the
    definitions that they were told, with the address of each.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.refusal: int | None = None
        self.unreachable = False
        self.silent = False
        self.locations: dict[str, str] = {}
        self.knows_no_location = False
        self.infos: dict[str, dict[str, Any]] = {}
        self.statuses: dict[str, dict[str, Any]] = {}
        self.reloads: list[tuple[str, dict[str, Any]]] = []
        self.on_action: Callable[[Call], Awaitable[None]] | None = None
        self.client = AdapterClient(
            httpx.AsyncClient(transport=httpx.MockTransport(self._answer), trust_env=False), tokens=("secret",)
        )

    @property
    def actions(self) -> list[AdapterAction]:
        return [call.action for call in self.calls]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        url = f"{request.url.scheme}://{request.url.netloc.decode()}"
        if self.unreachable:
            raise httpx.ConnectError("connection refused", request=request)
        if self.silent:
            await asyncio.sleep(request.extensions["timeout"]["read"])
            raise httpx.ReadTimeout("", request=request)
        if request.url.path == "/info":
            return httpx.Response(200, json=self.infos.get(url, {}))
        if request.url.path == "/status":
            return httpx.Response(200, json=self.statuses.get(url, {"status": "running"}))
        if request.url.path == "/health":
            return httpx.Response(200)
        body = json.loads(request.content)
        if request.url.path == "/manager":
            return self._locate(url, body)
        if request.url.path == "/reload":
            self.reloads.append((url, body["definition"]))
            return httpx.Response(200, json={"changed": ["behavior"]})
        return await self._act(url, body)

    def _locate(self, url: str, body: dict[str, Any]) -> httpx.Response:
        if self.knows_no_location:
            return httpx.Response(404, json={"detail": "no such address"})
        self.locations[url] = body["url"]
        return httpx.Response(200, json=body)

    async def _act(self, url: str, body: dict[str, Any]) -> httpx.Response:
        call = Call(url, AdapterAction(body["action"]), body.get("timeout_seconds"))
        self.calls.append(call)
        if self.on_action is not None:
            await self.on_action(call)
        if self.refusal is not None:
            return httpx.Response(self.refusal, json={"detail": "not now"})
        return httpx.Response(202, json={"status": _STATUS_AFTER[call.action].value})


class FakePorts:
    """Of a machine where somebody listens at those that are `taken` only; picks 9001, 9002 and so on."""

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self._picked = 9000

    def pick(self, _host: str) -> int:
        self._picked += 1
        return self._picked

    def is_free(self, _host: str, port: int) -> bool:
        return port not in self.taken


def agent(agent_id: str = "echo", **changes: Any) -> AgentConfig:
    """An agent of the config; `changes` as fields of `AgentConfig`."""
    return AgentConfig(id=agent_id, **changes)


@dataclass
class World:
    """All that supervision works with, wired as in the manager. Made inside the running virtual loop's clock."""

    clock: FakeClock
    last_words: str | None = None
    spawner: FakeSpawner = field(default_factory=FakeSpawner)
    store: FakeStore = field(default_factory=FakeStore)
    adapters: FakeAdapters = field(default_factory=FakeAdapters)
    events: list[Event] = field(default_factory=list)
    ports: FakePorts = field(default_factory=FakePorts)
    listening: dict[int, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bus = EventBus(self.clock)
        self.bus.listen(self.events.append)
        self.registry = Registry(self.clock, self.bus, interval_seconds=5, ttl_seconds=TTL_SECONDS)
        self.router = Router(self.registry, self.clock)
        self.tools = Tools(
            clock=self.clock,
            bus=self.bus,
            registry=self.registry,
            router=self.router,
            store=self.store,  # type: ignore[arg-type]
            spawner=self.spawner,
            launcher=Launcher(
                {},
                "http://127.0.0.1:8000",
                Secrets(),
                Path("project"),
                lambda _id: Path("echo.log"),
                False,
                addresses=Addresses(pick=self.ports.pick, is_free=self.ports.is_free),
            ),
            adapters=self.adapters.client,
            last_words=lambda _agent_id, _offset: self.last_words,
            log_size=lambda _agent_id: 7,
            listening=self._listening,
            kill_grace_seconds=KILL_GRACE_SECONDS,
            silence_limit_seconds=SILENCE_LIMIT_SECONDS,
        )

    async def _listening(self, pid: int) -> list[str]:
        return self.listening.get(pid, [])

    async def routed(self, agent_id: str) -> RegisteredInstance:
        """The instance that a request goes to now; waits and raises as `Router.lease` does."""
        lease = await self.router.lease(agent_id, client="test")
        lease.release()
        return lease.instance

    def outsiders(self, *, lost_retention_seconds: float = 60.0) -> Outsiders:
        return Outsiders(
            self.registry,
            self.router,
            self.adapters.client,
            self.bus,
            self.clock,
            policy=RoutePolicy(300, 10, 1024),
            lost_retention_seconds=lost_retention_seconds,
        )

    @property
    def process(self) -> FakeProcess:
        """The newest."""
        return self.spawner.processes[-1]

    def register(self, instance_id: str, agent_id: str = "echo", *, port: int = 8100, **report: Any) -> None:
        """The instance registers and says its status at once, as an adapter does."""
        self.registry.register(registration(instance_id, agent_id, port))
        self.heartbeat(instance_id, agent_id, **report)

    def heartbeat(self, instance_id: str, agent_id: str = "echo", **report: Any) -> None:
        self.registry.heartbeat(Heartbeat(id=agent_id, instance_id=instance_id, **report))

    def unregister(self, instance_id: str, agent_id: str = "echo") -> None:
        self.registry.unregister(Unregistration(id=agent_id, instance_id=instance_id))

    def kinds(self, agent_id: str = "echo") -> list[EventKind]:
        return [event.kind for event in self.events if event.agent_id == agent_id]

    def of_kind(self, kind: EventKind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]

    def states(self, agent_id: str = "echo") -> list[str]:
        """The states that the agent went through, in order."""
        return [
            str(event.data["state"])
            for event in self.events
            if event.kind is EventKind.STATE_CHANGED and event.agent_id == agent_id
        ]


def registration(instance_id: str = "i-1", agent_id: str = "echo", port: int = 8100, **changes: Any) -> Registration:
    return Registration(
        **{"id": agent_id, "service_url": f"http://127.0.0.1:{port}", "instance_id": instance_id, **changes}
    )


def report(status: AdapterStatus = AdapterStatus.RUNNING, **changes: Any) -> StatusReport:
    return StatusReport(status=status, **changes)


class Supervised(World):
    """A world with one agent under supervision."""

    supervisor: AgentSupervisor

    @property
    def instance(self) -> ManagedInstance:
        """The newest."""
        return self.supervisor.instances[-1]

    @property
    def state(self) -> AgentState:
        return self.supervisor.state

    def drains_in(self, seconds: float, code: int = 0) -> None:
        """From now on every adapter that is asked to stop ends by itself after so long."""
        processes = self.spawner.processes

        async def end(call: Call) -> None:
            if call.action is AdapterAction.STOP:
                asyncio.get_running_loop().call_later(seconds, processes[-1].end, code)

        self.adapters.on_action = end

    async def reach(self, state: AgentState, *, within: float = 3600.0) -> None:
        await until(lambda: self.supervisor.state is state, within=within)

    async def started(self) -> str:
        """Wait for the next instance; answers its id."""
        await until(lambda: any(not i.registered and i.stop is None for i in self.supervisor.instances))
        return self.instance.instance_id

    async def start(self, **status: Any) -> str:
        """Wait for the next instance to be started and register it; answers its id."""
        await self.started()
        instance_id = self.instance.instance_id
        self.register(instance_id, self.supervisor.agent.id, **status)
        await until(lambda: self.instance.registered)
        await advance(0)
        return instance_id

    async def keep_alive(self, instance_id: str, seconds: float, **status: Any) -> None:
        """Let time pass while the instance's heart beats."""
        for _ in range(round(seconds)):
            await advance(1)
            self.heartbeat(instance_id, **status)


UNFORESEEN = frozenset(
    {
        "Supervision step failed; it is tried again",
        "Unforeseen state change",
        "Control task failed",
        "A long-lived task has ended",
    }
)


def supervise(
    scenario: Callable[[Supervised], Awaitable[None]],
    *,
    desired: DesiredState = DesiredState.RUNNING,
    prepare: Callable[[Supervised], None] = lambda _world: None,
    foreseen: frozenset[str] = frozenset(),
    **changes: Any,
) -> None:
    """Run `scenario` beside the supervision of one agent; nothing unforeseen may be logged meanwhile."""
    clock = FakeClock()

    async def main() -> None:
        world = Supervised(clock)
        world.registry.listen(lambda _agent_id: world.supervisor.wake())
        prepare(world)
        world.supervisor = AgentSupervisor(agent(**changes), desired, world.tools)
        task = asyncio.create_task(world.supervisor.run())
        try:
            await scenario(world)
        finally:
            task.cancel()
            await asyncio.wait({task})

    with capture_logs() as logs:
        run(main(), clock)
    assert [entry for entry in logs if entry["event"] in UNFORESEEN - foreseen] == []
