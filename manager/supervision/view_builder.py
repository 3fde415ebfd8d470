"""Puts together what supervision, registry and sampler know of one agent."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from manager.registry.circuit import CircuitState
from manager.registry.instance import RegisteredInstance
from manager.registry.registry import Registry
from manager.registry.routing import Router
from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.outsiders import Outsider
from manager.supervision.resources import ResourceSampler
from manager.supervision.states import LEGAL_ACTIONS, NEEDS_PROCESS, AgentAction, AgentState
from manager.supervision.views import AgentView, InstanceView

_PAUSE = AgentAction.PAUSE


class ViewBuilder:
    """Answers `AgentView`s; sums up what several instances of an agent report."""

    def __init__(self, registry: Registry, resources: ResourceSampler, router: Router) -> None:
        self._registry = registry
        self._router = router
        self._resources = resources

    def managed(self, supervisor: AgentSupervisor) -> AgentView:
        """An agent whose processes are ours."""
        agent = supervisor.agent
        shown = next((i for i in reversed(supervisor.instances) if i.ready and i.stop is None), None)
        if shown is None and supervisor.instances:
            shown = supervisor.instances[-1]
        registered = self._registry.get(shown.instance_id) if shown else None
        known = [r for r in (self._registry.get(i.instance_id) for i in supervisor.instances) if r is not None]
        stops = [instance.stop for instance in supervisor.instances if instance.stop]
        return AgentView(
            id=agent.id,
            name=agent.name,
            description=agent.description,
            entry_point=agent.entry_point,
            managed=True,
            sidecar=agent.is_sidecar,
            depends_on=list(agent.depends_on),
            state=supervisor.state,
            state_reason=supervisor.state_reason,
            desired_state=supervisor.desired,
            ready=_is_ready(supervisor.state, known),
            port=agent.port or (registered.port if registered else None),
            pid=shown.pid if shown else None,
            instance_id=shown.instance_id if shown else None,
            started_at=shown.started_at if shown else None,
            restarts=supervisor.restarts,
            next_start_at=supervisor.recovery.next_start_at if supervisor.state is AgentState.BACKOFF else None,
            last_exit=supervisor.last_exit,
            drain_deadline=max(stop.deadline_at for stop in stops) if stops else _drain_deadline(registered),
            stop_deadline=max((stop.end_at for stop in stops), default=None),
            instances=[self._instance(instance) for instance in supervisor.instances],
            instances_wanted=supervisor.instances_wanted,
            metadata=agent.metadata,
            actions=[a for a in _actions(supervisor.state, managed=True) if not (a is _PAUSE and agent.is_sidecar)],
            **self._reported(agent.id, registered, known, agent.port if agent.command is None else None),
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
            port=newest.port,
            pid=None,
            instance_id=newest.instance_id,
            started_at=None,
            restarts=0,
            next_start_at=None,
            last_exit=None,
            drain_deadline=_drain_deadline(newest),
            instances=[_outside_instance(instance) for instance in known],
            instances_wanted=len(known),
            metadata=newest.metadata,
            actions=_actions(outsider.state, managed=False),
            cpu_percent=None,
            rss_bytes=None,
            **self._reported(outsider.agent_id, newest, known),
        )

    def _instance(self, instance: ManagedInstance) -> InstanceView:
        known = self._registry.get(instance.instance_id)
        usage = self._resources.usage(instance.pid)
        return InstanceView(
            instance_id=instance.instance_id,
            pid=instance.pid,
            service_url=known.service_url if known else None,
            ready=known is not None and known.routable,
            draining=instance.stop is not None,
            started_at=instance.started_at,
            last_heartbeat_at=known.last_heartbeat_at if known else None,
            in_flight=known.in_flight if known else 0,
            circuit=known.circuit.state if known else CircuitState.CLOSED,
            cpu_percent=usage.cpu_percent if usage else None,
            rss_bytes=usage.rss_bytes if usage else None,
        )

    def _reported(
        self,
        agent_id: str,
        shown: RegisteredInstance | None,
        known: list[RegisteredInstance],
        public_port: int | None = None,
    ) -> dict[str, Any]:
        return {
            "service_url": _agents_url(shown, public_port) if shown else None,
            "registered_at": shown.registered_at if shown else None,
            "last_heartbeat_at": shown.last_heartbeat_at if shown else None,
            "in_flight": sum(instance.in_flight for instance in known),
            "queued": self._router.waiting(agent_id) + sum(instance.report.queued for instance in known),
            "circuit": _circuit(known),
            "tasks_total": sum(instance.report.tasks_total for instance in known),
            "tasks_failed": sum(instance.report.tasks_failed for instance in known),
            "current_task": shown.report.current_task if shown else None,
        }

    def _usage(self, instances: list[ManagedInstance]) -> dict[str, Any]:
        samples = [sample for sample in (self._resources.usage(i.pid) for i in instances) if sample is not None]
        if not samples:
            return {"cpu_percent": None, "rss_bytes": None}
        return {
            "cpu_percent": round(sum(sample.cpu_percent for sample in samples), 1),
            "rss_bytes": sum(sample.rss_bytes for sample in samples),
        }


def _outside_instance(known: RegisteredInstance) -> InstanceView:
    return InstanceView(
        instance_id=known.instance_id,
        pid=None,
        service_url=known.service_url,
        ready=known.routable,
        draining=known.draining,
        started_at=None,
        last_heartbeat_at=known.last_heartbeat_at,
        in_flight=known.in_flight,
        circuit=known.circuit.state,
        cpu_percent=None,
        rss_bytes=None,
    )


def _is_ready(state: AgentState, known: list[RegisteredInstance]) -> bool:
    return state is AgentState.RUNNING and any(instance.routable for instance in known)


def _agents_url(shown: RegisteredInstance, public_port: int | None) -> str:
    """Where clients find the agent: at its own port, which all instances share, else at that of the one shown."""
    if public_port is None:
        return shown.service_url
    return urlsplit(shown.service_url)._replace(netloc=f"{shown.host}:{public_port}").geturl()


def _drain_deadline(known: RegisteredInstance | None) -> datetime | None:
    return known.report.drain_deadline if known else None


def _actions(state: AgentState, *, managed: bool) -> list[AgentAction]:
    legal = LEGAL_ACTIONS[state] if managed else LEGAL_ACTIONS[state] - NEEDS_PROCESS
    return [action for action in AgentAction if action in legal]


def _circuit(known: list[RegisteredInstance]) -> CircuitState:
    """The best of those that could take a request: while one of them answers, the agent does."""
    states = {instance.circuit.state for instance in known if instance.routable}
    best_first = (CircuitState.CLOSED, CircuitState.HALF_OPEN, CircuitState.OPEN)
    return next((state for state in best_first if state in states), CircuitState.CLOSED)
