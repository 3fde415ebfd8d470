"""Which instance takes the next request, and why none does. Supervision writes, forwarding takes leases."""

from __future__ import annotations

from manager.clock import Clock
from manager.errors import NotReady, UnknownAgent
from manager.registry.gate import Gate, Lease, OpenRequests
from manager.registry.registry import Registry
from manager.registry.route import Admission, Route, RoutePolicy

__all__ = ["Admission", "Lease", "Route", "RoutePolicy", "Router"]

_OVERLOADED_RETRY_SECONDS = 1


class Router:
    """A gate for each agent, so that no agent's line delays another's; and one limit over them all."""

    def __init__(self, registry: Registry, clock: Clock, *, max_open_requests: int = 100_000) -> None:
        self._registry = registry
        self._clock = clock
        self._gates: dict[str, Gate] = {}
        self._total = OpenRequests(max_open_requests)
        registry.listen(self._refresh)

    def set_route(self, agent_id: str, route: Route | None) -> None:
        """Set or, with None, remove what is said of an agent."""
        gate = self._gates.get(agent_id)
        if route is None:
            if gate is not None:
                del self._gates[agent_id]
                gate.close(unknown_agent(agent_id))
        elif gate is None:
            self._gates[agent_id] = Gate(agent_id, route, self._registry, self._clock, self._total)
        else:
            gate.set_route(route)

    def route(self, agent_id: str) -> Route:
        """What is said of the agent. Raises `UnknownAgent`."""
        return self._gate(agent_id).route

    def admission(self, agent_id: str) -> Admission:
        """What becomes of a new request; an agent that is not known takes none."""
        gate = self._gates.get(agent_id)
        return gate.route.admission if gate else Admission.DOWN

    def waiting(self, agent_id: str) -> int:
        """Requests that wait here for a slot in one of the agent's instances."""
        gate = self._gates.get(agent_id)
        return gate.waiting if gate else 0

    @property
    def open_requests(self) -> int:
        """Requests to all agents that hold a slot or wait for one."""
        return self._total.count

    async def lease(self, agent_id: str, *, client: str) -> Lease:
        """A slot in the ready instance with the least in flight; the caller releases it.

        Waits in turn, fair among `client`s, for a free slot, and, bounded, for an agent that is coming back.
        Raises `UnknownAgent`, `StateConflict` (paused, stopping), `NotReady` or `Overloaded`.
        """
        gate = self._gate(agent_id)
        if self._total.count >= self._total.limit:
            raise NotReady(
                f"The manager has {self._total.limit} requests open (runtime.maxOpenRequests) and takes no more for "
                "the moment; try again, or raise the limit.",
                agent_id=agent_id,
                retry_after_seconds=_OVERLOADED_RETRY_SECONDS,
            )
        return gate.take() or await gate.wait(client)

    def visit(self, agent_id: str, instance_id: str) -> Lease:
        """A place in this very instance, whether it takes new work or not; the caller releases it.

        Raises `UnknownAgent`, or `NotReady` for one that is not registered.
        """
        lease = self._gate(agent_id).visit(instance_id)
        if lease is None:
            raise NotReady(
                f"The instance of {agent_id} that was asked has not registered again yet; try again in a moment.",
                agent_id=agent_id,
                retry_after_seconds=_OVERLOADED_RETRY_SECONDS,
            )
        return lease

    def _gate(self, agent_id: str) -> Gate:
        gate = self._gates.get(agent_id)
        if gate is None:
            raise unknown_agent(agent_id)
        return gate

    def _refresh(self, agent_id: str) -> None:
        gate = self._gates.get(agent_id)
        if gate is not None:
            gate.refresh()


def unknown_agent(agent_id: str) -> UnknownAgent:
    """The error for an id that nobody has."""
    return UnknownAgent(
        f"There is no agent {agent_id!r}; `agent-manager ps` and GET /api/agent-services list those there are.",
        agent_id=agent_id,
    )
