"""The instances of one agent, and what is done to them one by one: start, watch, align, stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta

import structlog

from agent_service.contract import AdapterStatus
from agent_service.definition import AgentDefinition
from manager.events import EventKind
from manager.registry.instance import RegisteredInstance
from manager.specs.models import AgentConfig
from manager.specs.probe import ProbeSettings
from manager.store.store import InstanceRecord
from manager.supervision.contact import News, contact, keep_contacting
from manager.supervision.managed_instance import ManagedInstance, StopPlan
from manager.supervision.pausing import align, missing_action
from manager.supervision.probe import Probe
from manager.supervision.process import Process
from manager.supervision.pulse import take_pulse
from manager.supervision.redefining import must_learn, redefine
from manager.supervision.starting import adopt_instance, start_instance
from manager.supervision.states import AgentState, DesiredState
from manager.supervision.stopping import stop_instance
from manager.supervision.tools import Tools
from manager.tasks import TaskOwner

# The best that any instance can say of itself is what the agent is.
_STATE_OF_STATUS = {
    AdapterStatus.RUNNING: AgentState.RUNNING,
    AdapterStatus.PAUSED: AgentState.PAUSED,
    AdapterStatus.STOPPING: AgentState.STOPPING,
    AdapterStatus.STOPPED: AgentState.STOPPING,
}
_SERVING = frozenset({AdapterStatus.RUNNING, AdapterStatus.PAUSED})

log = structlog.get_logger(__name__)


class InstanceSet:
    """Owned by the agent's supervisor; `wake` is called whenever something about an instance may have changed."""

    def __init__(self, agent_id: str, tools: Tools, wake: Callable[[], None]) -> None:
        self.all: list[ManagedInstance] = []
        self._agent_id = agent_id
        self._tools = tools
        self._wake = wake
        self._tasks = TaskOwner()

    async def start(self, agent: AgentConfig, *, generation: int, restarts: int, paused: bool) -> None:
        """One more. Raises `ConfigError` or `SpawnFailed`."""
        instance = await start_instance(agent, self._tools, generation=generation, restarts=restarts, paused=paused)
        self._keep(instance, agent.probe)

    def adopt(
        self, agent: AgentConfig, process: Process, record: InstanceRecord, *, generation: int, holds_port: bool
    ) -> ManagedInstance:
        """Take back a process that an earlier manager started."""
        instance = adopt_instance(agent, process, record, self._tools, generation=generation)
        instance.holds_port = holds_port
        self._keep(instance, agent.probe)
        return instance

    async def contact(self, instance: ManagedInstance, record: InstanceRecord, news: News) -> None:
        """Ask one that was taken back how it is; one that does not answer is asked again, behind the caller's back."""
        if not await contact(record, self._tools, news):
            self._control(instance, keep_contacting(record, self._tools, news), "contact")

    def take_pulse(self, instance: ManagedInstance) -> None:
        """Ask from now on an instance how it is, whose own word is refused."""
        instance_id = instance.instance_id
        pulse = self._tasks.start(f"pulse of {instance_id}", take_pulse(instance_id, self._tools), may_end=True)
        instance.pulse = pulse
        instance.process.exited.add_done_callback(lambda _: pulse.cancel())

    @property
    def port_holder(self) -> ManagedInstance | None:
        """One beside which no other can be started, since it has the agent's port and cannot share it."""
        return next((instance for instance in self.all if instance.holds_port), None)

    def take_ended(self) -> list[ManagedInstance]:
        """Those whose process has ended, which are no longer in the set."""
        ended = [instance for instance in self.all if instance.process.exited.done()]
        self.all = [instance for instance in self.all if instance not in ended]
        return ended

    def registered(self, instance: ManagedInstance) -> RegisteredInstance | None:
        """What the registry knows of it."""
        return self._tools.registry.get(instance.instance_id)

    def observe(self) -> None:
        """Note which have been heard of, are ready, or have fallen silent."""
        now = self._tools.clock.monotonic()
        for instance in self.all:
            known = self.registered(instance)
            silent = known is not None and known.expired
            instance.registered |= known is not None
            instance.ready = known is not None and not silent and known.report.status in _SERVING
            instance.silent_since = (instance.silent_since or now) if silent else None

    def align(self, desired: DesiredState) -> None:
        """Tell those to pause or resume whose own status is not what is desired."""
        for instance in self.all:
            known = self.registered(instance)
            action = missing_action(known, desired)
            if known and action and instance.stop is None and instance.sidecar_url is None and not instance.is_busy:
                self._control(instance, align(instance, known.service_url, action, self._tools), str(action))

    def redefine(self, definition: AgentDefinition | None, *, generation: int, refused: Callable[[str], None]) -> None:
        """Give those of this generation the agent's definition whom it has changed for."""
        for instance in self.all:
            known = self.registered(instance)
            if known and definition and instance.generation == generation and must_learn(instance, definition):
                if not instance.is_busy:
                    work = redefine(instance, known.service_url, definition, self._tools, refused)
                    self._control(instance, work, "redefine")

    def state(self) -> tuple[AgentState, str | None]:
        """What the agent is while it has processes: the best that any of them can say of itself, and why if not."""
        going = [instance for instance in self.all if instance.stop is None]
        if not going:
            stop = self.all[-1].stop
            return AgentState.STOPPING, stop.reason if stop else None
        known = [known for known in map(self.registered, going) if known is not None]
        if not known:
            # One that was registered and is no more has taken its leave: its process is about to end.
            leaving = any(instance.registered for instance in going)
            return (AgentState.STOPPING, "it unregistered") if leaving else (AgentState.STARTING, None)
        heard = [_STATE_OF_STATUS[one.report.status] for one in known if not one.expired]
        if heard:
            return min(heard, key=list(_STATE_OF_STATUS.values()).index), None
        missing = "its heartbeats are missing" if going[-1].sidecar_url is None else "it does not answer its probe"
        return AgentState.UNRESPONSIVE, f"the process is there, but {missing}"

    def stop_probing(self) -> None:
        """Nobody acts on answers any more."""
        for instance in self.all:
            for asking in (instance.probing, instance.pulse):
                if asking is not None:
                    asking.cancel()

    def stop(self, instance: ManagedInstance, seconds: float, reason: str, *, replaced: bool = False) -> None:
        """Drain it for at most `seconds`, then end it; a drain that goes on already gets the new deadline."""
        if instance.control is not None:
            instance.control.cancel()
        # A drain that an earlier manager began, or somebody at the adapter itself, is never put off.
        left = self.drain_left(instance)
        seconds = seconds if left is None else min(seconds, left)
        if instance.probing is not None:
            # It has nothing to drain that we would know of: SIGTERM at once, and until SIGKILL the usual grace.
            seconds = 0.0
            instance.probing.cancel()
        plan = self._plan(seconds, reason, replaced=replaced)
        instance.stop = plan
        self._tools.bus.publish(
            EventKind.DRAIN_STARTED,
            f"{self._agent_id} (pid {instance.pid}) drains for at most {seconds:.4g} s: {reason}",
            agent_id=self._agent_id,
            instance_id=instance.instance_id,
            timeout_seconds=round(seconds, 3),
        )
        self._control(instance, stop_instance(instance, plan, self._tools), "stop")

    def drain_left(self, instance: ManagedInstance) -> float | None:
        """Seconds until the drain deadline that the instance itself has told of; None while it has told of none."""
        known = self.registered(instance)
        if known is None or known.report.drain_deadline is None:
            return None
        return max(0.0, (known.report.drain_deadline - self._tools.clock.now()).total_seconds())

    def kill(self, instance: ManagedInstance, reason: str, *, failure: bool = False) -> None:
        """End it and its process group this moment; with `failure` that counts as a crash."""
        instance.failure = reason if failure else None
        instance.stop = self._plan(0.0, reason)
        instance.process.kill()

    def release_port(self) -> None:
        """Close the port that the instances have shared."""
        self._tasks.start(
            f"release port of {self._agent_id}", self._tools.spawner.release(self._agent_id), may_end=True
        )

    def _plan(self, seconds: float, reason: str, *, replaced: bool = False) -> StopPlan:
        clock = self._tools.clock
        deadline, deadline_at = clock.monotonic() + seconds, clock.now() + timedelta(seconds=seconds)
        grace = self._tools.kill_grace_seconds
        return StopPlan(
            reason, deadline, deadline_at, deadline + grace, deadline_at + timedelta(seconds=grace), replaced
        )

    def _keep(self, instance: ManagedInstance, probe: ProbeSettings | None) -> None:
        self.all.append(instance)
        instance.process.exited.add_done_callback(lambda _: self._wake())
        if probe is not None and instance.sidecar_url is not None:
            self._watch(instance, Probe(instance, instance.sidecar_url, probe, self._tools))

    def _watch(self, instance: ManagedInstance, probe: Probe) -> None:
        probing = asyncio.create_task(probe.watch(), name=f"probe {instance.instance_id}")
        instance.probing = probing
        instance.process.exited.add_done_callback(lambda _: probing.cancel())
        probing.add_done_callback(lambda _: self._probing_ended(instance, probing))

    def _probing_ended(self, instance: ManagedInstance, probing: asyncio.Task[str]) -> None:
        if probing.cancelled():
            return
        error = probing.exception()
        if error is not None:
            log.error("Probe failed", agent_id=self._agent_id, exc_info=error)
        self.kill(instance, probing.result() if error is None else "its probe failed", failure=True)
        self._wake()

    def _control(self, instance: ManagedInstance, work: Coroutine[object, object, None], what: str) -> None:
        instance.control = asyncio.create_task(work, name=f"{what} {instance.instance_id}")
        instance.control.add_done_callback(self._control_ended)

    def _control_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("Control task failed", agent_id=self._agent_id, task=task.get_name(), exc_info=task.exception())
        self._wake()
