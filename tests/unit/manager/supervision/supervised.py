"""One agent under supervision in a world in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from structlog.testing import capture_logs

from agent_service.contract import AdapterAction
from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.states import AgentState, DesiredState
from tests.unit.manager.fakes.adapters import Call
from tests.unit.manager.fakes.clock import FakeClock, advance, run, until
from tests.unit.manager.fakes.world import World, agent


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


def run_as_foreseen(main: Coroutine[Any, Any, None], clock: FakeClock, foreseen: frozenset[str] = frozenset()) -> None:
    """To its end; nothing unforeseen may be logged meanwhile."""
    with capture_logs() as logs:
        run(main, clock)
    assert [entry for entry in logs if entry["event"] in UNFORESEEN - foreseen] == []


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

    run_as_foreseen(main(), clock, foreseen)
