"""Which instance takes the next request, and why none does. Supervision writes, forwarding reads and waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum

from manager.clock import Clock
from manager.errors import NotReady, StateConflict, UnknownAgent
from manager.registry.instance import RegisteredInstance
from manager.registry.registry import Registry


class Admission(Enum):
    """What becomes of a new request."""

    OPEN = "open"
    COMING_BACK = "coming back"
    """No instance is ready, one soon will be: the request may wait."""
    REFUSED = "refused"
    """Paused or stopping: 409."""
    DOWN = "down"
    """Nobody there and nobody coming: 503."""


@dataclass(frozen=True)
class RoutePolicy:
    """An agent's limits on the forward path. Times in seconds."""

    execute_timeout_seconds: float
    queue_while_restarting_seconds: float
    max_body_bytes: int


@dataclass(frozen=True)
class Route:
    """What supervision says of one agent; `detail` is the sentence for whom it turns away."""

    admission: Admission
    state: str
    detail: str
    policy: RoutePolicy


class Router:
    """Routes by agent id, and a way to wait for one to open."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._routes: dict[str, Route] = {}
        self._changed = asyncio.Event()
        registry.listen(lambda _agent_id: self._wake())

    def set_route(self, agent_id: str, route: Route | None) -> None:
        """Set or, with None, remove what is said of an agent."""
        if route is None:
            self._routes.pop(agent_id, None)
        else:
            self._routes[agent_id] = route
        self._wake()

    def route(self, agent_id: str) -> Route:
        """What is said of the agent. Raises `UnknownAgent`."""
        route = self._routes.get(agent_id)
        if route is None:
            raise unknown_agent(agent_id)
        return route

    def admission(self, agent_id: str) -> Admission:
        """What becomes of a new request; an agent that is not known takes none."""
        route = self._routes.get(agent_id)
        return route.admission if route else Admission.DOWN

    async def acquire(self, agent_id: str) -> RegisteredInstance:
        """The ready instance with the least in flight; waits, bounded, for an agent that is coming back.

        Raises `UnknownAgent`, `StateConflict` (paused, stopping) or `NotReady`.
        """
        deadline: float | None = None
        while True:
            changed = self._changed
            route = self.route(agent_id)
            instance = self._pick(agent_id, route)
            if instance is not None:
                return instance
            if deadline is None:
                deadline = self._clock.monotonic() + route.policy.queue_while_restarting_seconds
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                raise _not_ready(agent_id, route)
            try:
                async with asyncio.timeout(remaining):
                    await changed.wait()
            except TimeoutError:
                continue

    def _pick(self, agent_id: str, route: Route) -> RegisteredInstance | None:
        if route.admission is Admission.REFUSED:
            raise StateConflict(route.detail, agent_id=agent_id, state=route.state)
        if route.admission is Admission.DOWN:
            raise _not_ready(agent_id, route)
        if route.admission is Admission.COMING_BACK:
            return None
        ready = [instance for instance in self._registry.of(agent_id) if instance.routable]
        return min(ready, key=lambda instance: instance.forwarding, default=None)

    def _wake(self) -> None:
        # Whoever waits holds the old event: a fresh one makes each change wake each waiter once.
        self._changed.set()
        self._changed = asyncio.Event()


def unknown_agent(agent_id: str) -> UnknownAgent:
    """The error for an id that nobody has."""
    return UnknownAgent(
        f"There is no agent {agent_id!r}; `agent-manager ps` and GET /api/agent-services list those there are.",
        agent_id=agent_id,
    )


def _not_ready(agent_id: str, route: Route) -> NotReady:
    return NotReady(route.detail, agent_id=agent_id, state=route.state)
