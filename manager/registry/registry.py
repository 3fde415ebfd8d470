"""Who has registered, and until when. Facts go out as events and as one call per change to whoever listens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from agent_service.contract import (
    Heartbeat,
    Registration,
    RegistrationAnswer,
    StatusReport,
    Unregistration,
)
from manager.clock import Clock
from manager.errors import StateConflict, UnknownInstance
from manager.events import EventBus, EventKind
from manager.registry.instance import RegisteredInstance

ChangeListener = Callable[[str], None]

_REPORTED = tuple(StatusReport.model_fields)


@dataclass
class _Managed:
    """An agent whose processes this manager starts: only instances that it launched may register."""

    expected: set[str] = field(default_factory=set)


class Registry:
    """Registrations, heartbeats and their expiry, for agents of ours and for those started elsewhere."""

    def __init__(self, clock: Clock, bus: EventBus, *, interval_seconds: float, ttl_seconds: float) -> None:
        self._clock = clock
        self._bus = bus
        self._ttl = ttl_seconds
        self._answer = RegistrationAnswer(
            heartbeat_interval_seconds=interval_seconds, heartbeat_ttl_seconds=ttl_seconds
        )
        self._instances: dict[str, RegisteredInstance] = {}
        self._by_agent: dict[str, dict[str, RegisteredInstance]] = {}
        self._managed: dict[str, _Managed] = {}
        self._listeners: list[ChangeListener] = []

    @property
    def heartbeat_interval_seconds(self) -> float:
        """How often an instance is to be heard of."""
        return self._answer.heartbeat_interval_seconds

    def listen(self, listener: ChangeListener) -> None:
        """Call `listener(agent_id)` after each change of one of the agent's instances."""
        self._listeners.append(listener)

    def manage(self, agent_id: str) -> None:
        """From now on only instances that were expected may register under this id."""
        self._managed.setdefault(agent_id, _Managed())

    def unmanage(self, agent_id: str) -> None:
        """Whoever comes next under this id is an outsider."""
        self._managed.pop(agent_id, None)

    def expect(self, agent_id: str, instance_id: str) -> None:
        """An instance was launched and will register."""
        self._managed[agent_id].expected.add(instance_id)

    def is_managed(self, agent_id: str) -> bool:
        """Whether this manager starts the agent's processes."""
        return agent_id in self._managed

    def register(self, registration: Registration) -> RegistrationAnswer:
        """Take an instance in, or learn its new address.

        Raises `StateConflict` for an id of ours from a process that is not.
        """
        self._check_expected(registration.id, registration.instance_id)
        known = self._instances.get(registration.instance_id)
        if known is not None and known.agent_id != registration.id:
            raise StateConflict(
                f"The instance {registration.instance_id} is registered as agent {known.agent_id!r}; "
                "give each process an instanceId of its own.",
                agent_id=registration.id,
            )
        if known is None:
            self._add(registration)
        else:
            # The same object: requests that are open to it go on counting themselves down.
            known.service_url = registration.service_url.rstrip("/")
            known.metadata = registration.metadata
            self._heard_of(known)
        self._changed(registration.id)
        return self._answer

    def heartbeat(self, heartbeat: Heartbeat) -> RegistrationAnswer:
        """Note a sign of life and what came with it. Raises `UnknownInstance`."""
        instance = self._instances.get(heartbeat.instance_id)
        if instance is None or instance.agent_id != heartbeat.id:
            raise UnknownInstance(
                f"No instance {heartbeat.instance_id} of {heartbeat.id!r} is registered; register again.",
                agent_id=heartbeat.id,
            )
        # Not validated again: its fields have been, as the heartbeat's.
        report = StatusReport.model_construct(**{name: getattr(heartbeat, name) for name in _REPORTED})
        changed = instance.expired or report != instance.report
        self._heard_of(instance)
        instance.take(report)
        if changed:
            self._changed(instance.agent_id)
        return self._answer

    def vouch(self, registration: Registration) -> None:
        """Take in a process that does not speak for itself; it counts as heard of until `silence`.

        Raises what `register` raises.
        """
        self.register(registration)
        self._instances[registration.instance_id].expires_at = math.inf

    def silence(self, instance_id: str, why: str) -> None:
        """Somebody vouched for this process, and it does not answer any more: a sentence says so."""
        instance = self._instances.get(instance_id)
        if instance is not None and not instance.expired:
            instance.expired = True
            self._publish(EventKind.HEARTBEAT_MISSED, instance, f"does not answer its probe: {why}")
            self._changed(instance.agent_id)

    def unregister(self, message: Unregistration) -> None:
        """An instance says that it goes. One that is not known is no error: it is gone already."""
        instance = self._instances.get(message.instance_id)
        if instance is None or instance.agent_id != message.id:
            return
        self.forget(instance.instance_id)
        self._publish(EventKind.INSTANCE_UNREGISTERED, instance, "unregistered")

    def forget(self, instance_id: str) -> None:
        """Drop an instance whose process has ended; it may not register again."""
        for managed in self._managed.values():
            managed.expected.discard(instance_id)
        instance = self._instances.pop(instance_id, None)
        if instance is None:
            return
        siblings = self._by_agent[instance.agent_id]
        del siblings[instance_id]
        if not siblings:
            del self._by_agent[instance.agent_id]
        self._changed(instance.agent_id)

    def unroute(self, instance_id: str) -> None:
        """Give this instance no new requests."""
        instance = self._instances.get(instance_id)
        if instance is not None and not instance.draining:
            instance.draining = True
            self._changed(instance.agent_id)

    def note_status(self, instance_id: str, report: StatusReport) -> None:
        """Take over what an instance answered to an action, before its next heartbeat says it."""
        instance = self._instances.get(instance_id)
        if instance is not None and instance.report != report:
            instance.take(report)
            self._changed(instance.agent_id)

    def circuit_opened(self, instance: RegisteredInstance) -> None:
        """An instance gets no more requests for the moment, having failed to answer again and again."""
        self._publish(EventKind.CIRCUIT_OPENED, instance, "keeps failing to answer and gets no requests for a moment")
        self._changed(instance.agent_id)

    def circuit_closed(self, instance: RegisteredInstance) -> None:
        """An instance has answered again."""
        self._publish(EventKind.CIRCUIT_CLOSED, instance, "answers again")
        self._changed(instance.agent_id)

    def knows(self, agent_id: str, instance_id: str) -> bool:
        """Whether the instance may still be alive: it is registered, or it was launched and not seen to end."""
        managed = self._managed.get(agent_id)
        return instance_id in self._instances or (managed is not None and instance_id in managed.expected)

    def get(self, instance_id: str) -> RegisteredInstance | None:
        """One instance, if it is registered."""
        return self._instances.get(instance_id)

    def of(self, agent_id: str) -> list[RegisteredInstance]:
        """The agent's registered instances, oldest first."""
        return list(self._by_agent.get(agent_id, {}).values())

    def outsiders(self) -> Iterator[str]:
        """Ids of registered agents that this manager did not start."""
        return (agent_id for agent_id in self._by_agent if agent_id not in self._managed)

    def extend(self, seconds: float) -> None:
        """Give every instance so much more time until it counts as silent."""
        for instance in self._instances.values():
            instance.expires_at += seconds

    def expire(self) -> None:
        """Mark the instances whose time to live has passed. Called by the cleaner."""
        now = self._clock.monotonic()
        overdue = [i for i in self._instances.values() if not i.expired and i.expires_at <= now]
        for instance in overdue:
            instance.expired = True
            self._publish(EventKind.HEARTBEAT_MISSED, instance, f"has not been heard of for {self._ttl:g} s")
            self._changed(instance.agent_id)

    def _add(self, registration: Registration) -> None:
        now = self._clock.now()
        instance = RegisteredInstance(
            agent_id=registration.id,
            instance_id=registration.instance_id,
            service_url=registration.service_url.rstrip("/"),
            metadata=registration.metadata,
            registered_at=now,
            last_heartbeat_at=now,
            expires_at=self._clock.monotonic() + self._ttl,
        )
        self._instances[instance.instance_id] = instance
        self._by_agent.setdefault(instance.agent_id, {})[instance.instance_id] = instance
        url = instance.service_url
        self._publish(EventKind.INSTANCE_REGISTERED, instance, f"registered at {url}", service_url=url)

    def _heard_of(self, instance: RegisteredInstance) -> None:
        instance.last_heartbeat_at = self._clock.now()
        instance.expires_at = self._clock.monotonic() + self._ttl
        if instance.expired:
            instance.expired = False
            self._publish(EventKind.HEARTBEAT_RESUMED, instance, "is heard of again")

    def _publish(self, kind: EventKind, instance: RegisteredInstance, what: str, **data: str) -> None:
        message = f"{instance.agent_id} {what}"
        self._bus.publish(kind, message, agent_id=instance.agent_id, instance_id=instance.instance_id, **data)

    def _check_expected(self, agent_id: str, instance_id: str) -> None:
        managed = self._managed.get(agent_id)
        if managed is not None and instance_id not in managed.expected:
            raise StateConflict(
                f"The agent {agent_id!r} is in this manager's config, and this process was not started by it; "
                f"start it with `agent-manager start {agent_id}`, or give the process another id.",
                agent_id=agent_id,
            )

    def _changed(self, agent_id: str) -> None:
        for listener in tuple(self._listeners):
            listener(agent_id)
