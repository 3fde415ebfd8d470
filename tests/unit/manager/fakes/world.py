"""All that surrounds supervision, in memory and wired as in the manager."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_service.contract import Heartbeat, Unregistration
from manager.events import Event, EventBus, EventKind
from manager.registry.instance import RegisteredInstance
from manager.registry.registry import Registry
from manager.registry.routing import RoutePolicy, Router
from manager.settings import Secrets
from manager.specs.models import AgentConfig
from manager.supervision.addresses import Addresses
from manager.supervision.launching import Launcher
from manager.supervision.outsiders import Outsiders
from manager.supervision.tools import Tools
from tests.unit.manager.fakes.adapters import FakeAdapters, registration
from tests.unit.manager.fakes.clock import FakeClock
from tests.unit.manager.fakes.ports import FakePorts
from tests.unit.manager.fakes.processes import FakeProcess, FakeSpawner
from tests.unit.manager.fakes.store import FakeStore

TTL_SECONDS = 30.0
KILL_GRACE_SECONDS = 5.0
SILENCE_LIMIT_SECONDS = 60.0


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
    announced: list[str] = field(default_factory=list)
    told_tracing: list[tuple[str, str]] = field(default_factory=list)

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
            announce_stacks=lambda _agent_id, instance_id: self.announced.append(instance_id),
            listening=self._listening,
            tell_tracing=self._tell_tracing,
            kill_grace_seconds=KILL_GRACE_SECONDS,
            silence_limit_seconds=SILENCE_LIMIT_SECONDS,
        )

    async def _listening(self, pid: int) -> list[str]:
        return self.listening.get(pid, [])

    async def _tell_tracing(self, agent_id: str, service_url: str) -> None:
        self.told_tracing.append((agent_id, service_url))

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
