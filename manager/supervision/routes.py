"""What supervision's states mean for a new request. A pure function, written for each state change."""

from __future__ import annotations

from dataclasses import replace

from manager.registry.routing import Admission, Route, RoutePolicy
from manager.settings import AgentSettings
from manager.supervision.states import DOWN, AgentState, DesiredState

# A paused agent that is wanted running is about to be resumed.
_ON_ITS_WAY = frozenset({AgentState.STARTING, AgentState.BACKOFF, AgentState.STOPPING, AgentState.PAUSED})


def admission_of(state: AgentState, desired: DesiredState, *, closing: str | None) -> Admission:
    """Desired state comes first: what a person has paused takes nothing more, even before the adapter knows."""
    if closing is not None:
        return Admission.REFUSED
    if state in DOWN:
        return Admission.DOWN
    if desired is not DesiredState.RUNNING:
        return Admission.REFUSED
    if state is AgentState.RUNNING:
        return Admission.OPEN
    return Admission.COMING_BACK if state in _ON_ITS_WAY else Admission.DOWN


def policy_of(settings: AgentSettings) -> RoutePolicy:
    """An agent's limits, or for one from elsewhere the fleet's."""
    return RoutePolicy(
        execute_timeout_seconds=settings.execute_timeout_seconds,
        queue_while_restarting_seconds=settings.queue_while_restarting_seconds,
        max_body_bytes=settings.max_body_bytes,
        max_concurrency=settings.max_concurrency,
        max_queue=settings.max_queue,
    )


def route_of(
    agent_id: str,
    policy: RoutePolicy,
    state: AgentState,
    reason: str | None,
    desired: DesiredState,
    *,
    closing: str | None,
) -> Route:
    """The route of an agent in this state; `closing`: why it ends for good, where it does."""
    admission = admission_of(state, desired, closing=closing)
    return Route(
        admission, _shown(state, desired, closing).value, _detail(agent_id, state, reason, desired, closing), policy
    )


def sidecar_route(route: Route, agent_id: str) -> Route:
    """The route of a sidecar: whatever its state, it takes no tasks."""
    detail = (
        f"{agent_id} is a sidecar, a process that other agents use and that takes no tasks; "
        "execute an agent that depends on it."
    )
    return replace(route, admission=Admission.REFUSED, detail=detail)


def waiting_route(route: Route, agent_id: str, reason: str | None, remedy: str) -> Route:
    """The route of an agent that waits for others until a person applies the `remedy`: no request waits."""
    if route.admission is not Admission.COMING_BACK:
        return route
    detail = f"{agent_id} is {route.state} ({reason}); {remedy}."
    return replace(route, admission=Admission.DOWN, detail=detail)


def _shown(state: AgentState, desired: DesiredState, closing: str | None) -> AgentState:
    if closing is not None:
        return AgentState.STOPPING
    if desired is DesiredState.PAUSED and state is AgentState.RUNNING:
        return AgentState.PAUSED
    if desired is DesiredState.STOPPED and state is AgentState.RUNNING:
        return AgentState.STOPPING
    return state


def _detail(agent_id: str, state: AgentState, reason: str | None, desired: DesiredState, closing: str | None) -> str:
    if closing is not None:
        return f"{agent_id} takes no new work: {closing}. Try again when it is back."
    because = f" ({reason.rstrip('.')})" if reason else ""
    if state is AgentState.FAILED:
        return f"{agent_id} is failed{because}; mend it, then start it."
    if state is AgentState.STOPPED:
        return f"{agent_id} is stopped{because}; start it first."
    if desired is DesiredState.PAUSED:
        return f"{agent_id} is paused; resume it, or try again later."
    if desired is DesiredState.STOPPED:
        return f"{agent_id} is stopping and takes no new work; start it again when it has stopped."
    return f"{agent_id} {state.in_words}{because}; try again in a moment."
