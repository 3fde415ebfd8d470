"""Keeps one agent as it is desired: one task closes the gap between desired and actual, and nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta

import structlog

from agent_service.contract import AdapterStatus
from manager.errors import ConfigError, SpawnFailed
from manager.events import EventKind
from manager.registry.routing import RoutePolicy
from manager.specs.models import AgentConfig
from manager.store.store import InstanceRecord
from manager.supervision.exits import report_exit
from manager.supervision.managed_instance import ManagedInstance, StopPlan
from manager.supervision.pausing import align, missing_action
from manager.supervision.process import Process
from manager.supervision.recovery import Recovery
from manager.supervision.restart_policy import GiveUp
from manager.supervision.routes import route_of
from manager.supervision.starting import adopt_instance, start_instance, strike_off
from manager.supervision.states import TRANSITIONS, AgentState, DesiredState
from manager.supervision.stopping import stop_instance
from manager.supervision.tools import Tools
from manager.supervision.views import LastExit

_STATE_OF_STATUS = {
    AdapterStatus.RUNNING: AgentState.RUNNING,
    AdapterStatus.PAUSED: AgentState.PAUSED,
    AdapterStatus.STOPPING: AgentState.STOPPING,
    AdapterStatus.STOPPED: AgentState.STOPPING,
}
_RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class AgentSupervisor:
    """Owns the agent's processes. Everything here runs on the event loop; `wake` makes the task look again."""

    def __init__(self, agent: AgentConfig, desired: DesiredState, tools: Tools) -> None:
        self.agent = agent
        self.desired = desired
        self.state = AgentState.STOPPED
        self.state_reason: str | None = None
        self.restarts = 0
        self.last_exit: LastExit | None = None
        self.instances: list[ManagedInstance] = []
        self.recovery = Recovery(agent.restart, tools.clock)
        self._tools = tools
        self._route_policy = RoutePolicy(
            agent.execute_timeout_seconds, agent.queue_while_restarting_seconds, agent.max_body_bytes
        )
        self._generation = 0
        self._is_restart = False
        self._drain_seconds: float | None = None
        self._drain_reason = ""
        self._closing = False
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        tools.registry.manage(agent.id)
        self._publish_route()

    def want(self, desired: DesiredState, *, drain_seconds: float | None = None, reason: str = "stopped") -> None:
        """Change what is desired. Wanting it running makes earlier crashes forgotten where they hold it back."""
        if desired is DesiredState.RUNNING and not self.instances:
            self.recovery.forget()
            self._is_restart = False
        self.desired = desired
        self._drain_seconds = drain_seconds
        self._drain_reason = reason
        self._publish_route()
        self.wake()

    def restart(self, desired: DesiredState, *, drain_seconds: float | None = None, reason: str) -> None:
        """Replace every instance by a new one, which runs the code on disk."""
        self._generation += 1
        self.recovery.forget()
        self.want(desired, drain_seconds=drain_seconds, reason=reason)
        self._is_restart = True

    def kill(self, reason: str) -> None:
        """End every process at once."""
        for instance in self.instances:
            instance.stop = self._plan(0.0, reason)
            instance.process.kill()
        self.want(DesiredState.STOPPED, reason=reason)

    def close(self) -> None:
        """Drain and stop because the manager ends; what is desired stays as it is."""
        self._closing = True
        self._drain_seconds = None
        self._drain_reason = "the manager stops"
        self._publish_route()
        self.wake()

    def adopt(self, process: Process, record: InstanceRecord) -> None:
        """Take back a process that an earlier manager started."""
        self.restarts = record.restarts
        self._keep(adopt_instance(process, record, self._tools, generation=self._generation))

    def wake(self) -> None:
        """Something changed: look again."""
        self._wake.set()

    async def run(self) -> None:
        """Close the gap, for ever."""
        while True:
            self._wake.clear()
            try:
                await self._reconcile()
                pause = self._until_next_deadline()
            except Exception:  # outermost loop: an agent's trouble must not end its supervision
                log.exception("Supervision step failed; it is tried again", agent_id=self.agent.id)
                pause = _RETRY_SECONDS
            await _wait(self._wake, pause)

    async def settled(self, wanted: frozenset[AgentState], *, timeout: float) -> bool:
        """Wait until the state is one of `wanted`; false when `timeout` seconds pass first."""
        deadline = self._tools.clock.monotonic() + timeout
        while self.state not in wanted:
            left = deadline - self._tools.clock.monotonic()
            if left <= 0:
                return False
            await _wait(self._changed, left)
        return True

    @property
    def _wanted(self) -> bool:
        return self.desired is not DesiredState.STOPPED and not self._closing

    async def _reconcile(self) -> None:
        await self._collect_exits()
        self._note_registrations()
        self._stop_unwanted()
        if self._wanted and not self.instances and self.recovery.is_due:
            await self._start()
        self._align_pauses()
        self._transition(*self._observed_state())

    def _until_next_deadline(self) -> float | None:
        deadlines = [
            instance.started + self.agent.start_timeout_seconds
            for instance in self.instances
            if not instance.registered and instance.stop is None
        ]
        if self._wanted and not self.instances and self.recovery.due is not None:
            deadlines.append(self.recovery.due)
        return max(0.0, min(deadlines) - self._tools.clock.monotonic()) if deadlines else None

    async def _collect_exits(self) -> None:
        for instance in [instance for instance in self.instances if instance.process.exited.done()]:
            self.instances.remove(instance)
            self.last_exit = report_exit(instance, self._tools)
            if instance.stop is None or instance.failure is not None:
                self._recover(instance)
            else:
                self.recovery.stopped()
            await strike_off(instance, self._tools)

    def _recover(self, instance: ManagedInstance) -> None:
        exit_ = instance.process.exited.result()
        decision = self.recovery.crashed(instance.started, exit_, failed=instance.failure is not None)
        self._is_restart = True
        if isinstance(decision, GiveUp) or not self._wanted:
            return
        self._tools.bus.publish(
            EventKind.RESTART_SCHEDULED,
            f"{self.agent.id} starts again in {decision.delay_seconds:.1f} s (attempt {decision.attempt})",
            agent_id=self.agent.id,
            delay_seconds=round(decision.delay_seconds, 3),
            attempt=decision.attempt,
        )

    async def _start(self) -> None:
        self._transition(AgentState.STARTING, None)
        restarts = self.restarts + self._is_restart
        paused = self.desired is DesiredState.PAUSED
        try:
            instance = await start_instance(
                self.agent, self._tools, generation=self._generation, restarts=restarts, paused=paused
            )
        except (ConfigError, SpawnFailed) as error:
            self.recovery.give_up(GiveUp(error.detail, failed=True))
            self._tools.bus.publish(EventKind.START_FAILED, f"{self.agent.id}: {error.detail}", agent_id=self.agent.id)
            return
        self.restarts = restarts
        self._is_restart = False
        self._keep(instance)

    def _keep(self, instance: ManagedInstance) -> None:
        self.instances.append(instance)
        self.recovery.started()
        instance.process.exited.add_done_callback(lambda _: self.wake())

    def _note_registrations(self) -> None:
        limit = self.agent.start_timeout_seconds
        for instance in self.instances:
            instance.registered |= self._tools.registry.get(instance.instance_id) is not None
            silent_for = self._tools.clock.monotonic() - instance.started
            if not instance.registered and instance.stop is None and silent_for >= limit:
                instance.failure = f"did not register within {limit:g} s and was ended"
                self._stop(instance, 0.0, instance.failure)

    def _stop_unwanted(self) -> None:
        seconds = self.agent.drain_timeout_seconds if self._drain_seconds is None else self._drain_seconds
        for instance in self.instances:
            outdated = instance.generation < self._generation
            if instance.stop is None and (outdated or not self._wanted):
                self._stop(instance, seconds, self._drain_reason)

    def _stop(self, instance: ManagedInstance, seconds: float, reason: str) -> None:
        plan = self._plan(seconds, reason)
        instance.stop = plan
        self._tools.bus.publish(
            EventKind.DRAIN_STARTED,
            f"{self.agent.id} drains for at most {seconds:g} s: {reason}",
            agent_id=self.agent.id,
            instance_id=instance.instance_id,
            timeout_seconds=seconds,
        )
        instance.control = self._control(stop_instance(instance, plan, self._tools), f"stop {instance.instance_id}")

    def _plan(self, seconds: float, reason: str) -> StopPlan:
        clock = self._tools.clock
        return StopPlan(reason, clock.monotonic() + seconds, clock.now() + timedelta(seconds=seconds))

    def _align_pauses(self) -> None:
        for instance in self.instances:
            registered = self._tools.registry.get(instance.instance_id)
            action = missing_action(registered, self.desired)
            busy = instance.control is not None and not instance.control.done()
            if registered and action and instance.stop is None and not busy:
                work = align(instance, registered.service_url, action, self._tools)
                instance.control = self._control(work, f"{action} {instance.instance_id}")

    def _control(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._control_ended)
        return task

    def _control_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("Control task failed", agent_id=self.agent.id, task=task.get_name(), exc_info=task.exception())
        self.wake()

    def _observed_state(self) -> tuple[AgentState, str | None]:
        if not self.instances:
            return self._state_without_process()
        serving = [instance for instance in self.instances if instance.stop is None]
        if not serving:
            stop = self.instances[-1].stop
            return AgentState.STOPPING, stop.reason if stop else None
        registered = [r for r in (self._tools.registry.get(i.instance_id) for i in serving) if r is not None]
        if not registered:
            # One that was registered and is no more has taken its leave: its process is about to end.
            leaving = any(instance.registered for instance in serving)
            return (AgentState.STOPPING, "it unregistered") if leaving else (AgentState.STARTING, None)
        if all(instance.expired for instance in registered):
            return AgentState.UNRESPONSIVE, "the process is there, but its heartbeats are missing"
        return _STATE_OF_STATUS[registered[-1].report.status], None

    def _state_without_process(self) -> tuple[AgentState, str | None]:
        reason = self.last_exit.reason if self.last_exit else None
        if not self._wanted:
            return AgentState.STOPPED, None
        if self.recovery.given_up is None:
            return AgentState.BACKOFF, reason
        gave_up = self.recovery.given_up
        return AgentState.FAILED if gave_up.failed else AgentState.STOPPED, gave_up.told_after(reason)

    def _transition(self, state: AgentState, reason: str | None) -> None:
        """The one place where the state changes; the diagram stands in `states.py`."""
        if (state, reason) == (self.state, self.state_reason):
            return
        previous, self.state, self.state_reason = self.state, state, reason
        self._publish_route()
        if state is not previous:
            self._announce(previous)
        self._changed.set()
        self._changed = asyncio.Event()

    def _announce(self, previous: AgentState) -> None:
        if self.state not in TRANSITIONS[previous]:
            log.error("Unforeseen state change", agent_id=self.agent.id, previous=previous, state=self.state)
        self._tools.bus.publish(
            EventKind.STATE_CHANGED,
            f"{self.agent.id} is {self.state}" + (f": {self.state_reason}" if self.state_reason else ""),
            agent_id=self.agent.id,
            state=self.state.value,
            previous=previous.value,
        )

    def _publish_route(self) -> None:
        route = route_of(
            self.agent.id, self._route_policy, self.state, self.state_reason, self.desired, closing=self._closing
        )
        self._tools.router.set_route(self.agent.id, route)


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
