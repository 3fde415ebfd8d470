"""What API, dashboard and command line ask of the fleet. One object, so that a page and its JSON agree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agent_service.contract import rfc3339
from agent_service.plurals import count_text
from manager.clock import Clock
from manager.errors import AdapterDied, AdapterTimeout, StateConflict
from manager.events import Event, EventBus, EventKind
from manager.registry.routing import unknown_agent
from manager.store.store import DesiredRecord, Store
from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.outsiders import Outsider, Outsiders
from manager.supervision.states import (
    HARMLESS,
    LEGAL_ACTIONS,
    NEEDS_PROCESS,
    AgentAction,
    AgentState,
    DesiredState,
    Strategy,
)
from manager.supervision.supervisor import Supervisor
from manager.supervision.view_builder import ViewBuilder
from manager.supervision.views import AgentDetail, AgentView

_EVENTS_SHOWN = 50
_SETTLE_SECONDS = 2.0
_S = AgentState

_DESIRED_AFTER = {
    AgentAction.START: DesiredState.RUNNING,
    AgentAction.PAUSE: DesiredState.PAUSED,
    AgentAction.RESUME: DesiredState.RUNNING,
    AgentAction.STOP: DesiredState.STOPPED,
    AgentAction.KILL: DesiredState.STOPPED,
}
# What the answer to an action waits for, briefly, so that it already shows the action's effect.
_FIRST_EFFECT = {
    AgentAction.START: frozenset({_S.STARTING, _S.RUNNING, _S.FAILED, _S.STOPPING}),
    AgentAction.PAUSE: frozenset({_S.PAUSED, _S.STARTING, _S.BACKOFF}),
    AgentAction.RESUME: frozenset({_S.RUNNING}),
    AgentAction.STOP: frozenset({_S.STOPPING, _S.STOPPED}),
    AgentAction.KILL: frozenset({_S.STOPPED}),
}

RecentEvents = Callable[[int, str | None], Awaitable[list[Event]]]


class Fleet:
    """Agents of ours and from elsewhere alike."""

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        outsiders: Outsiders,
        views: ViewBuilder,
        store: Store,
        bus: EventBus,
        clock: Clock,
        recent_events: RecentEvents,
    ) -> None:
        self._supervisor = supervisor
        self._outsiders = outsiders
        self._views = views
        self._store = store
        self._bus = bus
        self._clock = clock
        self._recent_events = recent_events

    def agents(self) -> list[AgentView]:
        """Every known agent, in the order of the config, then those from elsewhere by id."""
        managed = [self._views.managed(supervisor) for supervisor in self._supervisor.all()]
        return managed + [self._views.outside(outsider) for outsider in self._outsiders.all()]

    def agent(self, agent_id: str) -> AgentView:
        """One agent. Raises `UnknownAgent`."""
        found = self._find(agent_id)
        return self._views.managed(found) if isinstance(found, AgentSupervisor) else self._views.outside(found)

    async def detail(self, agent_id: str) -> AgentDetail:
        """One agent with its spec and newest events (newest first). Raises `UnknownAgent`."""
        found = self._find(agent_id)
        spec = found.agent.to_public() if isinstance(found, AgentSupervisor) else None
        events = [event.to_wire() for event in await self._recent_events(_EVENTS_SHOWN, agent_id)]
        return AgentDetail(**dict(self.agent(agent_id)), spec=spec, events=events)

    async def act(
        self,
        agent_id: str,
        action: AgentAction,
        *,
        actor: str,
        reason: str | None = None,
        timeout_seconds: float | None = None,
        strategy: Strategy | None = None,
    ) -> AgentView:
        """Change what is desired of one agent; what a person chose is on disk when this returns.

        `strategy` is for a restart; without one it is rolling where that is possible.

        Raises `UnknownAgent`, `StateConflict` where the state does not allow it, `StoreUnavailable`, and for agents
        from elsewhere `AdapterDied` or `AdapterTimeout`.
        """
        self._find(agent_id)
        await self._supervisor.opened()
        found = self._find(agent_id)
        if isinstance(found, AgentSupervisor):
            _check_pausing(found, action)
        if not self._is_change(found, action):
            return self.agent(agent_id)
        before = self.agent(agent_id)
        if isinstance(found, AgentSupervisor):
            self._check_strategy(found, strategy)
            await self._act_on_managed(found, action, actor, reason, timeout_seconds, strategy)
        else:
            await self._act_on_outsider(found, action, actor, reason, timeout_seconds)
        return self._now_or(before)

    async def scale(self, agent_id: str, instances: int, *, actor: str, reason: str | None = None) -> AgentView:
        """Change how many instances of an agent are wanted; on disk when this returns.

        Raises `UnknownAgent`, `StateConflict` where the agent cannot have so many, `StoreUnavailable`.
        """
        self._find(agent_id)
        await self._supervisor.opened()
        found = self._find(agent_id)
        if isinstance(found, Outsider):
            raise StateConflict(f"{agent_id} was started elsewhere; scale it there.", agent_id=agent_id)
        if instances > 1 and found.agent.is_sidecar:
            raise StateConflict(
                f"{agent_id} is a sidecar, which others find at one address; it has one process.",
                agent_id=agent_id,
                state=found.state,
            )
        if instances > 1 and not found.can_roll:
            why = "has a port of its own that only one process can bind; take `port` out of its config"
            if found.port_conflict is not None:
                why = f"cannot share its port: {found.port_conflict}; restart it with strategy recreate"
            raise StateConflict(f"{agent_id} {why} to run several instances.", agent_id=agent_id, state=found.state)
        before = self.agent(agent_id)
        found = await self._keep(found, found.desired, instances, actor, reason)
        self._bus.publish(
            EventKind.DESIRED_CHANGED,
            f"{actor} asked for {count_text(instances, 'instance')} of {agent_id}",
            agent_id=agent_id,
            reason=reason,
            actor=actor,
            action="scale",
            instances=instances,
        )
        found.scale(instances)
        return self._now_or(before)

    def _now_or(self, before: AgentView) -> AgentView:
        """The agent after what was asked for is done; as it was `before` where it has left us meanwhile.

        One from elsewhere may be gone before its stop is answered, any other out of the config.
        """
        is_here = self._supervisor.get(before.id) or self._outsiders.get(before.id)
        return self.agent(before.id) if is_here else before

    def _check_strategy(self, found: AgentSupervisor, strategy: Strategy | None) -> None:
        if strategy is Strategy.ROLLING and not found.can_roll:
            why = found.port_conflict or "it has a port of its own that only one process can bind"
            raise StateConflict(
                f"A successor of {found.agent.id} cannot run beside it: {why}; restart it with strategy recreate.",
                agent_id=found.agent.id,
                state=found.state,
            )

    def _find(self, agent_id: str) -> AgentSupervisor | Outsider:
        found = self._supervisor.get(agent_id) or self._outsiders.get(agent_id)
        if found is None:
            raise unknown_agent(agent_id)
        return found

    def _is_change(self, found: AgentSupervisor | Outsider, action: AgentAction) -> bool:
        agent_id = found.agent.id if isinstance(found, AgentSupervisor) else found.agent_id
        if isinstance(found, Outsider) and action in NEEDS_PROCESS:
            raise StateConflict(
                f"{agent_id} was started elsewhere; this manager has no process of it to {action}. "
                "Do that where it was started.",
                agent_id=agent_id,
                state=found.state,
            )
        if action in LEGAL_ACTIONS[found.state]:
            return True
        if action in HARMLESS[found.state]:
            # The state says so already; what is desired may still differ (start of a paused agent that was running).
            return isinstance(found, AgentSupervisor) and found.desired is not _DESIRED_AFTER.get(action)
        possible = LEGAL_ACTIONS[found.state] - (NEEDS_PROCESS if isinstance(found, Outsider) else frozenset())
        legal = [str(legal) for legal in AgentAction if legal in possible]
        raise StateConflict(
            f"{agent_id} {found.state.in_words}, which does not allow {action}; "
            + (f"it allows {', '.join(legal)}." if legal else "it allows nothing until it is heard of again."),
            agent_id=agent_id,
            state=found.state,
        )

    async def _act_on_managed(
        self,
        found: AgentSupervisor,
        action: AgentAction,
        actor: str,
        reason: str | None,
        timeout: float | None,
        strategy: Strategy | None,
    ) -> None:
        desired = _DESIRED_AFTER.get(action, found.desired)
        if action is AgentAction.RESTART and desired is DesiredState.STOPPED:
            desired = DesiredState.RUNNING
        # On disk before it is acted on: a manager killed in between starts with what the person was told.
        found = await self._keep(found, desired, found.instances_wanted, actor, reason)
        self._announce(found.agent.id, action, actor, reason, desired)
        told = f"{action} by {actor}" + (f": {reason}" if reason else "")
        if action is AgentAction.KILL:
            found.kill(told)
        elif action is AgentAction.RESTART:
            found.restart(desired, strategy=strategy, drain_seconds=timeout, reason=told)
        else:
            found.want(desired, drain_seconds=timeout, reason=told)
        await found.settled(_FIRST_EFFECT.get(action, frozenset(AgentState)), timeout=_SETTLE_SECONDS)

    async def _act_on_outsider(
        self, found: Outsider, action: AgentAction, actor: str, reason: str | None, timeout: float | None
    ) -> None:
        try:
            await self._outsiders.act(found, action, timeout_seconds=timeout)
        except (AdapterDied, AdapterTimeout) as error:
            raise type(error)(error.detail, agent_id=found.agent_id, state=found.state) from error
        self._announce(found.agent_id, action, actor, reason)

    async def _keep(
        self, found: AgentSupervisor, desired: DesiredState, instances: int, actor: str, reason: str | None
    ) -> AgentSupervisor:
        """Write down what a person chose. Who is to do it: an agent may leave the config and come back meanwhile."""
        chosen = None if instances == found.agent.instances else instances
        changed_at = rfc3339(self._clock.now())
        record = DesiredRecord(found.agent.id, desired.value, reason, actor, changed_at, chosen)
        await self._store.set_desired(record)
        self._supervisor.note_choice(record)
        return self._supervisor.get(record.agent_id) or found

    def _announce(
        self,
        agent_id: str,
        action: AgentAction,
        actor: str,
        reason: str | None,
        desired: DesiredState | None = None,
    ) -> None:
        self._bus.publish(
            EventKind.DESIRED_CHANGED,
            f"{actor} asked {agent_id} to {action}",
            agent_id=agent_id,
            reason=reason,
            actor=actor,
            action=action.value,
            desired_state=desired.value if desired else None,
        )


def _check_pausing(found: AgentSupervisor, action: AgentAction) -> None:
    if action is AgentAction.PAUSE and found.agent.is_sidecar:
        raise StateConflict(
            f"{found.agent.id} is a sidecar, which takes no tasks and cannot be paused; pause the agents that use it.",
            agent_id=found.agent.id,
            state=found.state,
        )
