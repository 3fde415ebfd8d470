"""Several agents under one roof, with what an earlier manager has left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from manager.specs.models import AgentConfig
from manager.store.store import DesiredRecord, InstanceRecord
from manager.supervision import adoption
from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.states import AgentState
from manager.supervision.supervisor import Supervisor
from tests.unit.manager.fakes.clock import START, FakeClock, until
from tests.unit.manager.fakes.world import World, agent
from tests.unit.manager.supervision.supervised import run_as_foreseen

URL = "http://127.0.0.1:8100"
RECORD = InstanceRecord("i-old", "echo", 4242, "12345", "boot", START.isoformat(), URL, 17, 3)


class Supervising(World):
    """A world and the supervisor of its agents; `alive` are the pids that an earlier manager's processes still have."""

    supervisor: Supervisor
    alive: frozenset[int] = frozenset()

    def of(self, agent_id: str = "echo") -> AgentSupervisor:
        found = self.supervisor.get(agent_id)
        assert found is not None
        return found

    async def open(self) -> None:
        """As the manager does, with no request in between."""
        await self.supervisor.restore()
        await self.supervisor.open()

    async def running(self, *agent_ids: str) -> None:
        """Open, and let every one of these agents come up."""
        await self.open()
        for port, agent_id in enumerate(agent_ids, start=8100):
            await until(lambda agent_id=agent_id: self.of(agent_id).instances)
            self.register(self.of(agent_id).instances[-1].instance_id, agent_id, port=port)
            await until(lambda agent_id=agent_id: self.of(agent_id).state is AgentState.RUNNING)

    def choose(self, desired: str, agent_id: str = "echo") -> None:
        self.store.desired[agent_id] = DesiredRecord(
            agent_id=agent_id, desired_state=desired, instances=None, reason=None, actor="alice", changed_at=""
        )

    def leave_behind(self, *records: InstanceRecord, alive: bool = True) -> None:
        """What an earlier manager wrote down, and whether those processes still run."""
        for record in records:
            self.store.records[record.instance_id] = record
            if alive:
                self.alive |= {record.pid}
            if record.service_url is not None:
                self.adapters.infos[record.service_url] = {"instance_id": record.instance_id}


@pytest.fixture
def supervising(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def with_supervisor(scenario: Callable[[Supervising], Awaitable[None]], *agents: AgentConfig) -> None:
        clock = FakeClock()

        async def main() -> None:
            world = Supervising(clock)
            monkeypatch.setattr(adoption, "boot_id", lambda: "boot")
            monkeypatch.setattr(adoption, "is_running", lambda identity: identity.pid in world.alive)
            world.supervisor = Supervisor(agents or (agent(),), world.tools)
            try:
                await scenario(world)
            finally:
                await asyncio.wait_for(world.supervisor.close(), 10)

        run_as_foreseen(main(), clock)

    return with_supervisor


Run = Callable[..., None]
