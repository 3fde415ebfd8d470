"""A machine in memory: processes that outlive their managers, and the adapters in them, on virtual time."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx

from agent_service.contract import ENV_INITIAL_STATUS, AdapterStatus, Heartbeat, Registration, rfc3339
from manager.adapter_client import AdapterClient
from manager.errors import StateConflict, UnknownInstance
from manager.registry.registry import Registry
from manager.supervision.process import Exit, Launch, ProcessIdentity
from tests.unit.manager.fakes.clock import FakeClock
from tests.unit.manager.fakes.processes import FakeProcess

BOOT_SECONDS = 0.05
RETRY_SECONDS = 0.25
HEARTBEAT_SECONDS = 5.0
DRAIN_SECONDS = 0.4


@dataclass
class Adapter:
    """One living process and the adapter in it."""

    agent_id: str
    instance_id: str
    port: int
    process: FakeProcess
    status: AdapterStatus
    drain_deadline: str | None = None
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def report(self) -> dict[str, Any]:
        return {"status": self.status.value, "drain_deadline": self.drain_deadline}


class Machine:
    """Spawner and network of every manager that comes and goes on it. `registry`: that of the one there is now."""

    shares_ports = False

    def __init__(self, clock: FakeClock) -> None:
        self.registry: Registry | None = None
        self.starts: dict[str, int] = {}
        self.told_to_stop: set[str] = set()
        self.client = AdapterClient(
            httpx.AsyncClient(transport=httpx.MockTransport(self._answer), trust_env=False), tokens=()
        )
        self._clock = clock
        self._numbers = itertools.count(20_000)
        self._adapters: dict[str, Adapter] = {}
        self._known: set[str] = set()
        self._exits: dict[str, Exit] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # What a test sees and does.

    def alive(self, agent_id: str | None = None) -> list[Adapter]:
        return [each for each in self._adapters.values() if agent_id in (None, each.agent_id)]

    def is_running(self, identity: ProcessIdentity) -> bool:
        return any(each.process.identity == identity for each in self._adapters.values())

    async def lose_manager(self) -> None:
        """The manager is killed: whatever it was doing ends this moment, and nothing else does."""
        self.registry = None
        self._known.clear()
        doomed = asyncio.all_tasks() - self._tasks - {asyncio.current_task()}
        for task in doomed:
            task.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)

    # What a manager sees: the spawner.

    async def spawn(self, launch: Launch) -> FakeProcess:
        await asyncio.sleep(0.005)
        number = next(self._numbers)
        process = FakeProcess(number, on_terminate=Exit(code=0))
        initial = AdapterStatus(launch.environment[ENV_INITIAL_STATUS])
        adapter = Adapter(launch.agent_id, launch.instance_id, number, process, initial)
        self._adapters[launch.instance_id] = adapter
        self._known.add(launch.instance_id)
        self.starts[launch.agent_id] = self.starts.get(launch.agent_id, 0) + 1
        process.exited.add_done_callback(lambda exited: self._ended(adapter, exited.result()))
        self._run(self._live(adapter))
        # The manager may be killed before it hears of what it has started.
        await asyncio.sleep(0.005)
        return process

    async def collect(self) -> dict[str, Exit]:
        return dict(self._exits)

    def adopt(self, identity: ProcessIdentity, instance_id: str) -> FakeProcess:
        self._known.add(instance_id)
        return self._adapters[instance_id].process

    def strays(self) -> dict[str, tuple[str, ProcessIdentity]]:
        return {
            each.instance_id: (each.agent_id, each.process.identity)
            for each in self._adapters.values()
            if each.instance_id not in self._known
        }

    def forget(self, instance_id: str) -> None:
        self._exits.pop(instance_id, None)

    async def reclaim(self, agent_id: str, port: int, identity: ProcessIdentity) -> bool:
        return True

    async def release(self, agent_id: str) -> None: ...

    async def aclose(self, *, leave_running: bool) -> None: ...

    # The adapters.

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _ended(self, adapter: Adapter, exit_: Exit) -> None:
        del self._adapters[adapter.instance_id]
        self._exits[adapter.instance_id] = exit_
        adapter.told.set()

    async def _live(self, adapter: Adapter) -> None:
        await asyncio.sleep(BOOT_SECONDS)
        is_registered = False
        while not adapter.process.exited.done():
            adapter.told.clear()
            is_registered = self._tell(adapter, is_registered)
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS if is_registered else RETRY_SECONDS):
                    await adapter.told.wait()
            except TimeoutError:
                continue

    def _tell(self, adapter: Adapter, is_registered: bool) -> bool:
        """Register, or send a heartbeat; whether the manager knows it now."""
        if self.registry is None:
            return is_registered
        who = {"id": adapter.agent_id, "instance_id": adapter.instance_id}
        try:
            if not is_registered:
                url = f"http://127.0.0.1:{adapter.port}"
                self.registry.register(Registration.model_validate({**who, "service_url": url}))
            self.registry.heartbeat(Heartbeat.model_validate({**who, **adapter.report()}))
        except (StateConflict, UnknownInstance):
            return False
        return True

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.002)
        adapter = next((each for each in self._adapters.values() if each.port == request.url.port), None)
        if adapter is None:
            raise httpx.ConnectError("connection refused", request=request)
        match request.url.path:
            case "/info":
                return httpx.Response(200, json={"instance_id": adapter.instance_id})
            case "/manager":
                return httpx.Response(200, json=json.loads(request.content))
            case "/action":
                self._act(adapter, **json.loads(request.content))
        return httpx.Response(200, json=adapter.report())

    def _act(self, adapter: Adapter, action: str, timeout_seconds: float = DRAIN_SECONDS) -> None:
        is_stopping = adapter.status is AdapterStatus.STOPPING
        if action in ("stop", "restart"):
            seconds = min(timeout_seconds, DRAIN_SECONDS)
            if not is_stopping:
                adapter.drain_deadline = rfc3339(self._clock.now() + timedelta(seconds=timeout_seconds))
            adapter.status = AdapterStatus.STOPPING
            self.told_to_stop.add(adapter.instance_id)
            asyncio.get_running_loop().call_later(seconds, adapter.process.end, 0)
        elif not is_stopping:
            adapter.status = AdapterStatus.PAUSED if action == "pause" else AdapterStatus.RUNNING
        adapter.told.set()


def count_by_agent(adapters: Iterable[Adapter]) -> dict[str, int]:
    """How many live, by agent."""
    counts: dict[str, int] = {}
    for adapter in adapters:
        counts[adapter.agent_id] = counts.get(adapter.agent_id, 0) + 1
    return counts
