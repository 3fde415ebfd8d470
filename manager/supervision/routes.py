"""What supervision's states mean for a new request. A pure function, written for each state change."""

from __future__ import annotations

from manager.registry.routing import Admission, Route, RoutePolicy
from manager.supervision.states import AgentState, DesiredState

_DOWN = frozenset({AgentState.STOPPED, AgentState.FAILED})
# A paused agent that is wanted running is about to be resumed.
_ON_ITS_WAY = frozenset({AgentState.STARTING, AgentState.BACKOFF, AgentState.STOPPING, AgentState.PAUSED})


def admission_of(state: AgentState, desired: DesiredState, *, closing: bool) -> Admission:
    """Desired state comes first: what a person has paused takes nothing more, even before the adapter knows."""
    if closing:
        return Admission.REFUSED
    if state in _DOWN:
        return Admission.DOWN
    if desired is not DesiredState.RUNNING:
        return Admission.REFUSED
    if state is AgentState.RUNNING:
        return Admission.OPEN
    return Admission.COMING_BACK if state in _ON_ITS_WAY else Admission.DOWN


def route_of(
    agent_id: str, policy: RoutePolicy, state: AgentState, reason: str | None, desired: DesiredState, *, closing: bool
) -> Route:
    """The route of an agent in this state."""
    admission = admission_of(state, desired, closing=closing)
    return Route(
        admission, _shown(state, desired, closing).value, _detail(agent_id, state, reason, desired, closing), policy
    )


def _shown(state: AgentState, desired: DesiredState, closing: bool) -> AgentState:
    if closing:
        return AgentState.STOPPING
    if desired is DesiredState.PAUSED and state is AgentState.RUNNING:
        return AgentState.PAUSED
    if desired is DesiredState.STOPPED and state is AgentState.RUNNING:
        return AgentState.STOPPING
    return state


def _detail(agent_id: str, state: AgentState, reason: str | None, desired: DesiredState, closing: bool) -> str:
    if closing:
        return f"{agent_id} takes no new work: the manager is stopping. Try again when it is back."
    because = f" ({reason.rstrip('.')})" if reason else ""
    if state in _DOWN:
        return f"{agent_id} is {state}{because}; start it first."
    if desired is DesiredState.PAUSED:
        return f"{agent_id} is paused; resume it, or try again later."
    if desired is DesiredState.STOPPED:
        return f"{agent_id} is stopping and takes no new work; start it again when it has stopped."
    return f"{agent_id} is {state}{because}; try again in a moment."
