"""Agents that were started elsewhere and registered themselves: no process of ours, but driven all the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent_service.contract import AdapterAction, AdapterStatus
from manager.adapter_client import AdapterClient
from manager.clock import Clock
from manager.events import EventBus, EventKind
from manager.registry.instance import RegisteredInstance
from manager.registry.registry import Registry
from manager.registry.routing import RoutePolicy, Router
from manager.supervision.routes import route_of
from manager.supervision.states import AgentAction, AgentState, DesiredState

_STATE_OF_STATUS = {
    AdapterStatus.RUNNING: AgentState.RUNNING,
    AdapterStatus.PAUSED: AgentState.PAUSED,
    AdapterStatus.STOPPING: AgentState.STOPPING,
    AdapterStatus.STOPPED: AgentState.STOPPED,
}
# Nobody but the agent's own status tells what is wanted of it.
_DESIRED_OF_STATE = {
    AgentState.RUNNING: DesiredState.RUNNING,
    AgentState.PAUSED: DesiredState.PAUSED,
    AgentState.STOPPING: DesiredState.STOPPED,
    AgentState.STOPPED: DesiredState.STOPPED,
}


@dataclass
class Outsider:
    """One agent from elsewhere, as last seen. `lost_at` is monotonic seconds."""

    agent_id: str
    state: AgentState = AgentState.RUNNING
    desired: DesiredState = DesiredState.RUNNING
    lost_at: float | None = None
    last_seen: RegisteredInstance | None = field(default=None, repr=False)


class Outsiders:
    """Follows the registry: appears with the first registration, goes with the last unregistration."""

    def __init__(
        self,
        registry: Registry,
        router: Router,
        adapters: AdapterClient,
        bus: EventBus,
        clock: Clock,
        *,
        policy: RoutePolicy,
        lost_retention_seconds: float,
    ) -> None:
        self._registry = registry
        self._router = router
        self._adapters = adapters
        self._bus = bus
        self._clock = clock
        self._policy = policy
        self._retention = lost_retention_seconds
        self._known: dict[str, Outsider] = {}
        registry.listen(self.look_at)

    def all(self) -> list[Outsider]:
        """Every agent from elsewhere, by id."""
        return [self._known[agent_id] for agent_id in sorted(self._known)]

    def get(self, agent_id: str) -> Outsider | None:
        """One of them, if it is known."""
        return self._known.get(agent_id)

    def look_at(self, agent_id: str) -> None:
        """Something changed in the registry: bring our view of the agent up to date."""
        if self._registry.is_managed(agent_id):
            return
        instances = self._registry.of(agent_id)
        if not instances:
            self._known.pop(agent_id, None)
            self._router.set_route(agent_id, None)
            return
        outsider = self._known.setdefault(agent_id, Outsider(agent_id))
        alive = [instance for instance in instances if not instance.expired]
        outsider.last_seen = (alive or instances)[-1]
        self._follow_status(outsider, is_alive=bool(alive))

    def purge(self) -> None:
        """Forget those that have been lost for too long. Called by the cleaner."""
        now = self._clock.monotonic()
        for outsider in self.all():
            if outsider.lost_at is not None and now - outsider.lost_at >= self._retention:
                for instance in self._registry.of(outsider.agent_id):
                    self._registry.forget(instance.instance_id)

    async def act(self, outsider: Outsider, action: AgentAction, *, timeout_seconds: float | None) -> None:
        """Pass the action on to every instance. Raises `AdapterDied` or `AdapterTimeout`."""
        for instance in self._registry.of(outsider.agent_id):
            if not instance.expired:
                await self._pass_on(instance, AdapterAction(action.value), timeout_seconds)

    async def _pass_on(self, instance: RegisteredInstance, action: AdapterAction, timeout: float | None) -> None:
        report = await self._adapters.act(instance.service_url, action, timeout_seconds=timeout)
        self._registry.note_status(instance.instance_id, report)

    def _follow_status(self, outsider: Outsider, *, is_alive: bool) -> None:
        assert outsider.last_seen is not None
        state = _STATE_OF_STATUS[outsider.last_seen.report.status] if is_alive else AgentState.LOST
        previous, outsider.state = outsider.state, state
        outsider.desired = _DESIRED_OF_STATE.get(state, outsider.desired)
        outsider.lost_at = None if is_alive else outsider.lost_at or self._clock.monotonic()
        route = route_of(outsider.agent_id, self._policy, state, None, outsider.desired, closing=None)
        self._router.set_route(outsider.agent_id, route)
        if state is not previous:
            self._bus.publish(
                EventKind.STATE_CHANGED,
                f"{outsider.agent_id} is {state}",
                agent_id=outsider.agent_id,
                state=state.value,
                previous=previous.value,
            )
