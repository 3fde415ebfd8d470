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
from manager.supervision.dependencies import after_dependents
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.states import AgentState, DesiredState
from manager.supervision.tools import Tools
from manager.tasks import TaskOwner

log = structlog.get_logger(__name__)


class Supervisor:
    """One `AgentSupervisor` per configured agent, each with a task of its own."""

    def __init__(self, agents: Iterable[AgentConfig], tools: Tools) -> None:
        self._initial = tuple(agents)
        self._tools = tools
        self._tasks = TaskOwner()
        self._supervisors: dict[str, AgentSupervisor] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[str] = set()
        self._opened = asyncio.Event()
        self._returning: dict[str, AgentConfig] = {}
        self._order = [agent.id for agent in self._initial]
        self._chosen: dict[str, DesiredRecord] = {}
        for agent in self._initial:
            # From the first request on: a stranger that registers under such an id would be an outsider.
            tools.registry.manage(agent.id)

    async def restore(self) -> None:
        """Restore what was desired. From now on every agent is known, and requests for those that are to run wait."""
        self._chosen = await self._tools.store.desired_states()
        for agent in self._initial:
            self._supervisors[agent.id] = self._supervise(agent)
            self._supervisors[agent.id].await_adoption()

    async def open(self) -> None:
        """Once HTTP is served: adopt what still runs, then let every agent's task close its gap at once."""
        self._tools.registry.listen(self._wake)
        self._tools.bus.listen(self._note_address)
        self._tools.bus.listen(self._tell_dependants)
        await adopt_all(self._supervisors, self._tools)
        for agent_id in self._supervisors:
            self._run(agent_id)
        self._opened.set()

    async def opened(self) -> None:
        """Wait until what was there before this manager is known."""
        await self._opened.wait()

    def agents(self) -> tuple[AgentConfig, ...]:
        """The config of every agent that is to be there, in order."""
        found = {key: supervisor.agent for key, supervisor in self._supervisors.items() if key not in self._leaving}
        found |= self._returning
        return tuple(found[agent_id] for agent_id in self._in_order(found))

    def stopped(self) -> frozenset[str]:
        """The agents that a person or the config wants stopped, and those that are so for want of something else."""
        return frozenset(
            key
            for key, found in self._supervisors.items()
            if found.desired is DesiredState.STOPPED or found.state is AgentState.STOPPED
        )

    def add(self, agent: AgentConfig) -> None:
        """Supervise one more agent; one that is still on its way out comes back when it has gone."""
        if agent.id in self._leaving:
            self._returning[agent.id] = agent
        else:
            self._supervisors[agent.id] = self._supervise(agent)
            self._run(agent.id)

    def reconfigure(self, agent: AgentConfig, *, restart: bool) -> None:
        """Give an agent its new config; `restart` replaces the processes, which hold parts of the old one."""
        if agent.id in self._returning:
            self._returning[agent.id] = agent
        else:
            self._supervisors[agent.id].reconfigure(agent, restart=restart)

    def remove(self, agent_id: str) -> None:
        """Drain an agent and forget it when its last process has ended."""
        if self._returning.pop(agent_id, None) is None:
            self._leaving.add(agent_id)
            self._supervisors[agent_id].close("it was taken out of the config")
            self._tasks.start(f"remove {agent_id}", self._remove(agent_id), may_end=True)

    def reorder(self, ids: Iterable[str]) -> None:
        """List the agents in this order; those not named (on their way out) come last."""
        self._order = list(ids)
        self._supervisors = {agent_id: self._supervisors[agent_id] for agent_id in self._in_order(self._supervisors)}

    def note_choice(self, record: DesiredRecord) -> None:
        """A person has chosen, and it is on disk: an agent that leaves the config and comes back is as they chose."""
        self._chosen[record.agent_id] = record

    def all(self) -> list[AgentSupervisor]:
        """In the order of the config."""
        return list(self._supervisors.values())

    def get(self, agent_id: str) -> AgentSupervisor | None:
        """One agent of ours, if there is such."""
        return self._supervisors.get(agent_id)

    def needs_person(self, agent_id: str) -> bool:
        """Whether the agent stays down until a person starts it, or one that it waits for, also through others."""
        return bool(self._tools.dependencies.in_vain((agent_id,)))

    def adapters_of(self, agent_id: str) -> list[ManagedInstance]:
        """The agent's processes, where they are adapters of ours and no foreign programs."""
        supervisor = self.get(agent_id)
        return supervisor.instances if supervisor is not None and supervisor.agent.command is None else []

    def pids(self) -> list[int]:
        """Of every process that runs."""
        return [instance.pid for supervisor in self.all() for instance in supervisor.instances]

    async def drain(self) -> None:
        """Stop every agent, each after those that depend on it, and return when all have ended. Desired states stay."""
        self._returning.clear()

        async def end(agent_id: str) -> None:
            if (supervisor := self.get(agent_id)) is not None:
                supervisor.close("the manager stops")
                await supervisor.ended()

        await after_dependents([supervisor.agent for supervisor in self.all()], end)

    def kill_all(self) -> None:
        """End every process at once, also those that wait for others to drain."""
        for supervisor in self.all():
            supervisor.close("the manager stops")
            supervisor.kill_processes("the manager was told to stop at once")

    async def close(self) -> None:
        """End the tasks; processes that still run go on without us."""
        await self._tasks.close()

    def _in_order(self, ids: Iterable[str]) -> list[str]:
        found = list(ids)
        named = [agent_id for agent_id in self._order if agent_id in found]
        return [*named, *(agent_id for agent_id in found if agent_id not in named)]

    def _supervise(self, agent: AgentConfig) -> AgentSupervisor:
        chosen = self._chosen.get(agent.id)
        wanted = chosen.instances if chosen else None
        return AgentSupervisor(agent, _desired(agent, chosen), self._tools, instances_wanted=wanted)

    def _run(self, agent_id: str) -> None:
        work = self._supervisors[agent_id].run()
        self._running[agent_id] = self._tasks.start(f"supervise {agent_id}", work)

    async def _remove(self, agent_id: str) -> None:
        supervisor = self._supervisors[agent_id]
        await supervisor.ended()
        running = self._running.pop(agent_id)
        running.cancel()
        await asyncio.wait({running})
        del self._supervisors[agent_id]
        self._leaving.discard(agent_id)
        supervisor.forget()
        returning = self._returning.pop(agent_id, None)
        if returning is not None:
            self.add(returning)
            self.reorder(self._order)

    def _wake(self, agent_id: str) -> None:
        supervisor = self._supervisors.get(agent_id)
        if supervisor is not None:
            supervisor.wake()

    def _note_address(self, event: Event) -> None:
        if event.kind is EventKind.INSTANCE_REGISTERED and event.agent_id in self._supervisors:
            self._tasks.start(f"note address of {event.instance_id}", self._write_address(event), may_end=True)

    def _tell_dependants(self, event: Event) -> None:
        """Of a sidecar that has moved: a definition can be told while its agent runs, an environment cannot."""
        if event.kind is not EventKind.SIDECAR_MOVED:
            return
        for supervisor in self.all():
            if event.agent_id not in supervisor.agent.depends_on:
                continue
            if supervisor.agent.definition is not None:
                supervisor.wake()
            elif supervisor.instances and supervisor.desired is not DesiredState.STOPPED:
                supervisor.restart(supervisor.desired, reason=f"{event.agent_id}, which it depends on, has moved")

    async def _write_address(self, event: Event) -> None:
        assert event.instance_id is not None
        try:
            await self._tools.store.note_service_url(event.instance_id, str(event.data["service_url"]))
        except StoreUnavailable as error:
            log.error("Address could not be written down", agent_id=event.agent_id, error=error.detail)


def _desired(agent: AgentConfig, chosen: DesiredRecord | None) -> DesiredState:
    """A person's choice, else what the config says."""
    if chosen is not None:
        desired = DesiredState(chosen.desired_state)
        # What is a sidecar now may have been paused when it was an agent.
        return DesiredState.RUNNING if agent.is_sidecar and desired is DesiredState.PAUSED else desired
    return DesiredState.RUNNING if agent.autostart else DesiredState.STOPPED
