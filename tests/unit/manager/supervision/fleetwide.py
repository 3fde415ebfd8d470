"""A fleet in a world in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from manager.events import Event
from manager.specs.models import AgentConfig
from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.fleet import Fleet
from manager.supervision.outsiders import Outsiders
from manager.supervision.resources import ResourceSampler
from manager.supervision.states import AgentAction, AgentState, DesiredState
from manager.supervision.supervisor import Supervisor
from manager.supervision.view_builder import ViewBuilder
from manager.supervision.views import AgentView
from tests.unit.manager.fakes.clock import FakeClock, until
from tests.unit.manager.fakes.world import World, agent
from tests.unit.manager.supervision.supervised import run_as_foreseen

S, A, D = AgentState, AgentAction, DesiredState


class Fleetwide(World):
    """A world with the fleet on top of it."""

    supervisor: Supervisor
    outsiders_: Outsiders
    fleet: Fleet

    async def recent(self, limit: int, agent_id: str | None) -> list[Event]:
        return [event for event in reversed(self.events) if event.agent_id == agent_id][:limit]

    @property
    def echo(self) -> AgentSupervisor:
        found = self.supervisor.get("echo")
        assert found is not None
        return found

    async def running(self, **status: Any) -> str:
        await until(lambda: self.echo.instances)
        instance_id = self.echo.instances[-1].instance_id
        self.register(instance_id, **status)
        await until(lambda: self.echo.state in (S.RUNNING, S.PAUSED))
        return instance_id

    async def act(self, action: AgentAction, agent_id: str = "echo", **options: Any) -> AgentView:
        return await self.fleet.act(agent_id, action, actor="alice", **options)


def fleetwide(scenario: Callable[[Fleetwide], Awaitable[None]], *agents: AgentConfig, supervised: bool = True) -> None:
    """Without `supervised` nobody closes gaps: states are what the test sets."""
    clock = FakeClock()

    async def main() -> None:
        world = Fleetwide(clock)
        world.supervisor = Supervisor(agents or (agent(),), world.tools)
        world.outsiders_ = world.outsiders()
        world.fleet = Fleet(
            supervisor=world.supervisor,
            outsiders=world.outsiders_,
            views=ViewBuilder(world.registry, ResourceSampler(world.supervisor.pids), world.router),
            store=world.store,  # type: ignore[arg-type]
            bus=world.bus,
            clock=clock,
            recent_events=world.recent,
        )
        await world.supervisor.restore()
        await world.supervisor.open()
        if not supervised:
            await world.supervisor.close()
        try:
            await scenario(world)
        finally:
            await asyncio.wait_for(world.supervisor.close(), 10)

    run_as_foreseen(main(), clock)
