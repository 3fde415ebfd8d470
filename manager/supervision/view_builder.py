"""Puts together what supervision, registry and sampler know of one agent."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from manager.registry.instance import RegisteredInstance
from manager.registry.registry import Registry
from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.outsiders import Outsider
from manager.supervision.resources import ResourceSampler
from manager.supervision.states import LEGAL_ACTIONS, NEEDS_PROCESS, AgentAction, AgentState
from manager.supervision.views import AgentView


class ViewBuilder:
    """Answers `AgentView`s; sums up what several instances of an agent report."""

    def __init__(self, registry: Registry, resources: ResourceSampler) -> None:
        self._registry = registry
        self._resources = resources

    def managed(self, supervisor: AgentSupervisor) -> AgentView:
        """An agent whose processes are ours."""
        agent = supervisor.agent
        newest = supervisor.instances[-1] if supervisor.instances else None
        known = [r for r in (self._registry.get(i.instance_id) for i in supervisor.instances) if r is not None]
        return AgentView(
            id=agent.id,
            name=agent.name,
            description=agent.description,
            entry_point=agent.entry_point,
            managed=True,
            state=supervisor.state,
            state_reason=supervisor.state_reason,
            desired_state=supervisor.desired,
            ready=_is_ready(supervisor.state, known),
            port=agent.port or _port(known),
            pid=newest.pid if newest else None,
            instance_id=newest.instance_id if newest else None,
            started_at=newest.started_at if newest else None,
            restarts=supervisor.restarts,
            next_start_at=supervisor.recovery.next_start_at if supervisor.state is AgentState.BACKOFF else None,
            last_exit=supervisor.last_exit,
            drain_deadline=newest.stop.deadline_at if newest and newest.stop else _drain_deadline(known),
            metadata=agent.metadata,
            actions=_actions(supervisor.state, managed=True),
            **_reported(known),
            **self._usage(supervisor.instances),
        )

    def outside(self, outsider: Outsider) -> AgentView:
        """An agent that was started elsewhere."""
        known = self._registry.of(outsider.agent_id)
        newest = known[-1]
        name = newest.metadata.get("name")
        return AgentView(
            id=outsider.agent_id,
            name=name if isinstance(name, str) else outsider.agent_id,
            description="",
            entry_point=None,
            managed=False,
            state=outsider.state,
            state_reason="its heartbeats have stopped" if outsider.state is AgentState.LOST else None,
            desired_state=outsider.desired,
            ready=_is_ready(outsider.state, known),
            port=_port(known),
            pid=None,
            instance_id=newest.instance_id,
            started_at=None,
            restarts=0,
            next_start_at=None,
            last_exit=None,
            drain_deadline=_drain_deadline(known),
            metadata=newest.metadata,
            actions=_actions(outsider.state, managed=False),
            cpu_percent=None,
            rss_bytes=None,
            **_reported(known),
        )

    def _usage(self, instances: list[ManagedInstance]) -> dict[str, Any]:
        samples = [sample for sample in (self._resources.usage(i.pid) for i in instances) if sample is not None]
        if not samples:
            return {"cpu_percent": None, "rss_bytes": None}
        return {
            "cpu_percent": round(sum(sample.cpu_percent for sample in samples), 1),
            "rss_bytes": sum(sample.rss_bytes for sample in samples),
        }


def _is_ready(state: AgentState, known: list[RegisteredInstance]) -> bool:
    return state is AgentState.RUNNING and any(instance.routable for instance in known)


def _port(known: list[RegisteredInstance]) -> int | None:
    return known[-1].port if known else None


def _drain_deadline(known: list[RegisteredInstance]) -> datetime | None:
    return known[-1].report.drain_deadline if known else None


def _actions(state: AgentState, *, managed: bool) -> list[AgentAction]:
    legal = LEGAL_ACTIONS[state] if managed else LEGAL_ACTIONS[state] - NEEDS_PROCESS
    return [action for action in AgentAction if action in legal]


def _reported(known: list[RegisteredInstance]) -> dict[str, Any]:
    newest = known[-1] if known else None
    return {
        "service_url": newest.service_url if newest else None,
        "registered_at": newest.registered_at if newest else None,
        "last_heartbeat_at": newest.last_heartbeat_at if newest else None,
        "in_flight": sum(instance.in_flight for instance in known),
        "queued": sum(instance.report.queued for instance in known),
        "tasks_total": sum(instance.report.tasks_total for instance in known),
        "tasks_failed": sum(instance.report.tasks_failed for instance in known),
        "current_task": newest.report.current_task if newest else None,
    }
