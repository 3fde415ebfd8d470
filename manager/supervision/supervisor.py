"""All agents under one roof: takes back what runs, starts what is desired, drains everything at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from manager.errors import StoreUnavailable
from manager.events import Event, EventKind
from manager.specs.models import AgentConfig
from manager.store.store import DesiredRecord
from manager.supervision.adoption import adopt_all
from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.states import AgentState, DesiredState
from manager.supervision.tools import Tools
from manager.tasks import TaskOwner

_ENDED = frozenset({AgentState.STOPPED, AgentState.FAILED})

log = structlog.get_logger(__name__)


class Supervisor:
    """One `AgentSupervisor` per configured agent, each with a task of its own."""

    def __init__(self, agents: Iterable[AgentConfig], tools: Tools) -> None:
        self._agents = tuple(agents)
        self._tools = tools
        self._tasks = TaskOwner()
        self._supervisors: dict[str, AgentSupervisor] = {}

    async def open(self) -> None:
        """Restore what was desired, adopt what still runs, then let every agent's task close its gap at once."""
        chosen = await self._tools.store.desired_states()
        for agent in self._agents:
            self._supervisors[agent.id] = AgentSupervisor(agent, _desired(agent, chosen.get(agent.id)), self._tools)
        self._tools.registry.listen(self._wake)
        self._tools.bus.listen(self._note_address)
        await adopt_all(self._supervisors, self._tools)
        for agent_id, supervisor in self._supervisors.items():
            self._tasks.start(f"supervise {agent_id}", supervisor.run())

    def all(self) -> list[AgentSupervisor]:
        """In the order of the config."""
        return list(self._supervisors.values())

    def get(self, agent_id: str) -> AgentSupervisor | None:
        """One agent of ours, if there is such."""
        return self._supervisors.get(agent_id)

    def pids(self) -> list[int]:
        """Of every process that runs."""
        return [instance.pid for supervisor in self.all() for instance in supervisor.instances]

    async def drain(self) -> None:
        """Stop every agent, all at once, and return when the last process has ended. Desired states stay."""
        for supervisor in self.all():
            supervisor.close()
        await asyncio.gather(*(self._ended(supervisor) for supervisor in self.all()))

    def kill_all(self) -> None:
        """End every process at once."""
        for supervisor in self.all():
            for instance in supervisor.instances:
                instance.process.kill()

    async def close(self) -> None:
        """End the tasks; processes that still run go on without us."""
        await self._tasks.close()

    async def _ended(self, supervisor: AgentSupervisor) -> None:
        while supervisor.instances or supervisor.state not in _ENDED:
            await supervisor.settled(_ENDED, timeout=1.0)

    def _wake(self, agent_id: str) -> None:
        supervisor = self._supervisors.get(agent_id)
        if supervisor is not None:
            supervisor.wake()

    def _note_address(self, event: Event) -> None:
        if event.kind is EventKind.INSTANCE_REGISTERED and event.agent_id in self._supervisors:
            self._tasks.start(f"note address of {event.instance_id}", self._write_address(event), may_end=True)

    async def _write_address(self, event: Event) -> None:
        assert event.instance_id is not None
        try:
            await self._tools.store.note_service_url(event.instance_id, str(event.data["service_url"]))
        except StoreUnavailable as error:
            log.error("Address could not be written down", agent_id=event.agent_id, error=error.detail)


def _desired(agent: AgentConfig, chosen: DesiredRecord | None) -> DesiredState:
    """A person's choice, else what the config says."""
    if chosen is not None:
        return DesiredState(chosen.desired_state)
    return DesiredState.RUNNING if agent.autostart else DesiredState.STOPPED
