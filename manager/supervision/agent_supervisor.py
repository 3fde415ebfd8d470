"""Keeps one agent as it is desired: one task closes the gap between desired and actual, and nobody waits for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import structlog

from manager.errors import ConfigError, SpawnFailed, StartImpossible
from manager.events import EventKind
from manager.registry.route import Route
from manager.specs.extras import how_to_install, is_installed
from manager.specs.models import AgentConfig
from manager.store.store import InstanceRecord
from manager.supervision.contact import News
from manager.supervision.exits import report_exit, report_unseen_exit
from manager.supervision.instance_set import InstanceSet
from manager.supervision.liveness import Liveness
from manager.supervision.managed_instance import ManagedInstance, StopOrder
from manager.supervision.process import Exit, Process
from manager.supervision.recovery import Recovery
from manager.supervision.restart_policy import GiveUp
from manager.supervision.rollout import next_steps
from manager.supervision.routes import policy_of, route_of, sidecar_route, waiting_route
from manager.supervision.starting import lived_seconds, strike_off
from manager.supervision.state_keeper import StateKeeper, wait_for
from manager.supervision.states import AgentState, DesiredState, Strategy
from manager.supervision.tools import Tools
from manager.supervision.views import LastExit

_RETRY_SECONDS = 1.0
_SERVING = frozenset({AgentState.RUNNING, AgentState.PAUSED})
_ENDED = frozenset({AgentState.STOPPED, AgentState.FAILED})

log = structlog.get_logger(__name__)


class AgentSupervisor:
    """Owns the agent's processes. Everything here runs on the event loop; `wake` makes the task look again."""

    def __init__(
        self, agent: AgentConfig, desired: DesiredState, tools: Tools, *, instances_wanted: int | None = None
    ) -> None:
        self.agent = agent
        self.desired = desired
        self.instances_wanted = instances_wanted or agent.instances
        self.restarts = 0
        self.last_exit: LastExit | None = None
        self.recovery = Recovery(agent.restart, tools.clock)
        self._tools = tools
        self._set = InstanceSet(agent.id, tools, self.wake)
        self._liveness = Liveness(self._set, tools, dumps_stacks=agent.command is None)
        self._generation = 0
        self._rolling = False
        self._is_restart = False
        self._setback: str | None = None
        self._closing: str | None = None
        self._order = StopOrder("")
        self._waits_for: tuple[str, ...] = ()
        self._wake = asyncio.Event()
        self.keeper = StateKeeper(agent.id, tools, self._route)
        tools.registry.manage(agent.id)
        self.keeper.publish_route()

    @property
    def state(self) -> AgentState:
        """The actual one, as it was last seen."""
        return self.keeper.state

    @property
    def state_reason(self) -> str | None:
        """Why it is in that state, where that is worth a word."""
        return self.keeper.reason

    @property
    def instances(self) -> list[ManagedInstance]:
        """Those whose process has not been seen to end, oldest first."""
        return self._set.all

    @property
    def can_roll(self) -> bool:
        """Whether a successor can run beside the old instance: not where both would need to bind one port."""
        # A sidecar keeps its address for those that have been told of it.
        if self.shared_port is not None:
            return self._set.port_holder is None
        return self.agent.port is None and not self.agent.is_sidecar

    @property
    def shared_port(self) -> int | None:
        """The port of its own that all its instances share, if there is one."""
        agent = self.agent
        return agent.port if agent.command is None and self._tools.spawner.shares_ports else None

    @property
    def port_conflict(self) -> str | None:
        """Why no instance can be started beside those there are, though they were to share the agent's port."""
        holder = self._set.port_holder
        return f"its own older process (pid {holder.pid}) holds port {self.agent.port} alone" if holder else None

    def want(self, desired: DesiredState, *, drain_seconds: float | None = None, reason: str = "stopped") -> None:
        """Change what is desired. Wanting it running makes earlier crashes forgotten where they hold it back."""
        again = desired is DesiredState.STOPPED and self.desired is DesiredState.STOPPED
        if desired is DesiredState.RUNNING and not self.instances:
            self.recovery.forget()
            self._is_restart = False
        self.desired = desired
        self._setback = None
        self._order = StopOrder(reason, drain_seconds)
        if again:
            self._hurry(drain_seconds or 0.0)
        self.keeper.publish_route()
        self.wake()

    def restart(
        self,
        desired: DesiredState,
        *,
        strategy: Strategy | None = None,
        drain_seconds: float | None = None,
        reason: str,
    ) -> None:
        """Replace every instance by a new one, which runs the code on disk."""
        self._generation += 1
        # With nobody ready there is nothing that rolling could keep up.
        keeps_up = any(instance.ready for instance in self.instances)
        self._rolling = keeps_up and self.can_roll and strategy is not Strategy.RECREATE
        self.recovery.forget()
        self.want(desired, drain_seconds=drain_seconds, reason=reason)
        self._is_restart = True

    def scale(self, instances: int) -> None:
        """Change how many instances are wanted."""
        self.instances_wanted = instances
        self._order = replace(self._order, reason=f"scaled to {instances}", seconds=None)
        self.wake()

    def reconfigure(self, agent: AgentConfig, *, restart: bool) -> None:
        """Take over a new config; `restart` replaces the instances, which hold parts of the old one."""
        if agent.instances != self.agent.instances:
            self.scale(agent.instances)
        self.agent = agent
        if agent.is_sidecar and self.desired is DesiredState.PAUSED:
            self.desired = DesiredState.RUNNING
        self.recovery.settings = agent.restart
        # One that is wanted stopped is on its way out, or starts with the new config anyway.
        if restart and self.desired is not DesiredState.STOPPED:
            self.restart(self.desired, reason="its config has changed")
        self.keeper.publish_route()
        self.wake()

    def kill(self, reason: str) -> None:
        """End every process at once, and want none."""
        self.want(DesiredState.STOPPED, reason=reason)
        self.kill_processes(reason)

    def kill_processes(self, reason: str) -> None:
        """End every process at once, also one that is only just being started; what is desired stays as it is."""
        self._order = replace(self._order, at_once=True)
        for instance in self.instances:
            self._set.kill(instance, reason)
        self.wake()

    def end_for(self, instance: ManagedInstance, failure: str) -> None:
        """End an instance that does what it must not; its restart policy decides what follows."""
        self._set.kill(instance, failure, failure=True)
        self.wake()

    def close(self, reason: str) -> None:
        """Drain and stop for good, for the `reason` given; what is desired stays as it is."""
        self._closing = reason
        self._order = replace(self._order, reason=reason, seconds=None)
        self.keeper.publish_route()
        self.wake()

    def forget(self) -> None:
        """Give up the agent's id: from now on it is nobody's."""
        self._tools.registry.unmanage(self.agent.id)
        self._tools.dependencies.forget(self.agent.id)
        self._tools.router.set_route(self.agent.id, None)

    async def adopt(self, process: Process, record: InstanceRecord, *, holds_port: bool = False) -> None:
        """Take back a process that an earlier manager started; `holds_port`: it cannot share the agent's port."""
        self.restarts = max(self.restarts, record.restarts)
        self._keep_address(record)
        instance = self._set.adopt(self.agent, process, record, generation=self._generation, holds_port=holds_port)
        # For a sidecar its probe speaks.
        if not self.agent.is_sidecar:
            leaving, other_token = partial(self.go_on_stopping, record.instance_id), partial(self._renew, instance)
            await self._set.contact(instance, record, News(leaving, other_token))

    def go_on_stopping(self, instance_id: str) -> None:
        """An earlier manager had told this adopted instance to stop: its end is no crash, and its place is free."""
        self._order = replace(self._order, reason="it was being stopped when this manager took it back")
        self._stop(tuple(instance for instance in self.instances if instance.instance_id == instance_id))

    def _renew(self, instance: ManagedInstance) -> None:
        """It has not the manager's token: another one takes its place, and where that fails it stays."""
        self._set.take_pulse(instance)
        instance.generation -= 1
        self._rolling = self.can_roll
        self._is_restart = True
        self._order = replace(self._order, reason="it was started with another token")
        self.wake()

    def learn_exit(self, record: InstanceRecord, exit_: Exit) -> None:
        """One of its processes has ended while no manager was there to see it: the restart policy decides as ever."""
        self.restarts = max(self.restarts, record.restarts)
        self._keep_address(record)
        self.last_exit = report_unseen_exit(record, exit_, self._tools)
        self.recovery.crashed(self._tools.clock.monotonic() - lived_seconds(record, self._tools), exit_)
        self._is_restart = True

    def await_adoption(self) -> None:
        """Before `run` nobody knows whether a process is there: requests wait for it, if one is wanted."""
        if self.desired is not DesiredState.STOPPED:
            self.keeper.publish_route(AgentState.STARTING)

    def wake(self) -> None:
        """Something changed: look again."""
        self._wake.set()

    async def run(self) -> None:
        """Close the gap, for ever."""
        try:
            while True:
                self._wake.clear()
                try:
                    pause = await self._reconcile()
                except Exception:  # outermost loop: an agent's trouble must not end its supervision
                    log.exception("Supervision step failed; it is tried again", agent_id=self.agent.id)
                    pause = _RETRY_SECONDS
                await wait_for(self._wake, pause)
        finally:
            self._set.stop_probing()

    async def settled(self, wanted: frozenset[AgentState], *, timeout: float) -> bool:
        """Wait until the state is one of `wanted`; false when `timeout` seconds pass first."""
        return await self.keeper.settled(wanted, timeout=timeout)

    async def ended(self) -> None:
        """Wait until no process is left and none is to come."""
        while self.instances or self.state not in _ENDED:
            await self.keeper.next_change(_RETRY_SECONDS)

    @property
    def _wanted(self) -> int:
        return 0 if self._closing is not None or self.desired is DesiredState.STOPPED else self.instances_wanted

    @property
    def _going(self) -> int:
        return sum(instance.stop is None for instance in self.instances)

    async def _reconcile(self) -> float | None:
        """Do what is due; answers in how many seconds to look again, unless woken before."""
        await self._collect_exits()
        self._set.observe()
        self._liveness.check(self.agent.start_timeout_seconds)
        steps = next_steps(
            self.instances,
            wanted=self._wanted,
            generation=self._generation,
            rolling=self._rolling,
            exclusive=not self.can_roll,
        )
        self._stop(steps.stop)
        looked_at = self._tools.clock.monotonic()
        for _ in range(steps.start if self._finds_what_it_needs(steps.start) else 0):
            if self.recovery.is_due:
                await self._start()
        self._set.align(self.desired)
        definition = self._tools.launcher.definition(self.agent)
        self._set.redefine(definition, generation=self._generation, refused=self._definition_refused)
        self._transition(*self._observed_state())
        return self._until_next_deadline(looked_at)

    def _finds_what_it_needs(self, starts: int) -> bool:
        """Whether the extra that the agent requires is installed and all that it depends on is running."""
        self._waits_for = self._tools.dependencies.missing(self.agent, self.wake) if starts else ()
        extra = self.agent.requires_extra
        if starts and extra is not None and not self.recovery.given_up and not is_installed(extra):
            lacking = f"it needs the extra {extra!r}, which is not installed; {how_to_install(extra)}"
            self.recovery.give_up(GiveUp(lacking, failed=False))
        return not self._waits_for

    def _definition_refused(self, reason: str) -> None:
        if self.desired is not DesiredState.STOPPED and self._closing is None:
            self.restart(self.desired, reason=f"its new definition could not be taken over while it ran: {reason}")

    def _keep_address(self, record: InstanceRecord) -> None:
        if self.agent.is_sidecar and record.service_url is not None:
            self._tools.launcher.addresses.keep(self.agent.id, record.service_url)

    def _until_next_deadline(self, looked_at: float) -> float | None:
        deadlines = self._liveness.deadlines(self.agent.start_timeout_seconds)
        # A start that was due and yet not made waits for an old instance to end, which wakes us by itself.
        if self._going < self._wanted and self.recovery.due is not None and self.recovery.due > looked_at:
            deadlines.append(self.recovery.due)
        return max(0.0, min(deadlines) - self._tools.clock.monotonic()) if deadlines else None

    async def _collect_exits(self) -> None:
        for instance in self._set.take_ended():
            self.last_exit = report_exit(instance, self._tools)
            if instance.stop is None or instance.failure is not None:
                self._recover(instance)
            await strike_off(instance, self._tools)

    def _recover(self, instance: ManagedInstance) -> None:
        if self._rolls_back(instance):
            return
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

    def _rolls_back(self, successor: ManagedInstance | None) -> bool:
        """Whether a successor that failed before it was ready leaves the old instances in their place."""
        staying = [i for i in self.instances if i.stop is None and i.generation < self._generation]
        was_new = successor is None or (successor.generation == self._generation and not successor.ready)
        if not (self._rolling and staying and was_new):
            return False
        for instance in staying:
            instance.generation = self._generation
        self.recovery.forget()
        why = self.last_exit.reason if successor and self.last_exit else self._setback
        self._setback = f"the restart failed and the old process stays: {why}"
        self._tools.bus.publish(EventKind.ROLLOUT_FAILED, f"{self.agent.id}: {self._setback}", agent_id=self.agent.id)
        return True

    async def _start(self) -> None:
        if not self.instances and self._setback is None:
            self._transition(AgentState.STARTING, None)
        restarts = self.restarts + self._is_restart
        paused = self.desired is DesiredState.PAUSED
        try:
            await self._set.start(self.agent, generation=self._generation, restarts=restarts, paused=paused)
        except (ConfigError, SpawnFailed) as error:
            # Said once, however often it is tried again.
            if error.detail != self._setback:
                message = f"{self.agent.id}: {error.detail}"
                self._tools.bus.publish(EventKind.START_FAILED, message, agent_id=self.agent.id)
            self._setback = error.detail
            self._after_failed_start(error)
            return
        self.recovery.started()
        self.restarts = restarts
        self._is_restart = False
        self._setback = None

    def _after_failed_start(self, error: ConfigError | SpawnFailed) -> None:
        if self._rolls_back(None):
            return
        if isinstance(error, ConfigError | StartImpossible):
            self.recovery.give_up(GiveUp(error.detail, failed=True))
        else:
            # It may pass at any time: a port that another process still holds, a disk that is full.
            self.recovery.postpone()

    def _stop(self, instances: tuple[ManagedInstance, ...]) -> None:
        order = self._order
        replaced = self._wanted > 0 and self.shared_port is not None
        for instance in instances:
            if order.at_once:
                self._set.kill(instance, order.reason)
            else:
                seconds = self._drain_seconds(instance) if order.seconds is None else order.seconds
                self._set.stop(instance, seconds, order.reason, replaced=replaced)

    def _drain_seconds(self, instance: ManagedInstance) -> float:
        """As its config says, unless it drains already: what somebody was told then holds."""
        left = self._set.drain_left(instance)
        return self.agent.drain_timeout_seconds if left is None else left

    def _hurry(self, seconds: float) -> None:
        """Bring the deadline of the drains that go on nearer; never put it off."""
        deadline = self._tools.clock.monotonic() + seconds
        for instance in self.instances:
            if instance.stop is not None and deadline < instance.stop.deadline:
                self._set.stop(instance, seconds, self._order.reason)

    def _observed_state(self) -> tuple[AgentState, str | None]:
        if not self.instances:
            return self._state_without_process()
        state, reason = self._set.state()
        return state, (self._setback or self._shortage()) if state in _SERVING else reason

    def _shortage(self) -> str | None:
        conflict = self.port_conflict if self._going < self._wanted else None
        return conflict and f"{conflict}, so no other can be started beside it; restart it with strategy recreate"

    def _state_without_process(self) -> tuple[AgentState, str | None]:
        reason = self._setback or (self.last_exit.reason if self.last_exit else None)
        if not self._wanted:
            return AgentState.STOPPED, None
        gave_up = self.recovery.given_up
        if gave_up is None and self._waits_for:
            return AgentState.STARTING, f"waits for {self._tools.dependencies.in_words(self._waits_for)}"
        if gave_up is None:
            return AgentState.BACKOFF, reason
        return AgentState.FAILED if gave_up.failed else AgentState.STOPPED, gave_up.told_after(reason)

    def _transition(self, state: AgentState, reason: str | None) -> None:
        waits_for = () if self.instances else self._waits_for
        if self.keeper.change(state, reason, waits_for) and state in _ENDED and self.shared_port is not None:
            # Nobody is coming: whoever connects is to be refused rather than kept waiting.
            self._set.release_port()

    def _route(self, state: AgentState, reason: str | None) -> Route:
        agent = self.agent
        route = route_of(agent.id, policy_of(agent), state, reason, self.desired, closing=self._closing)
        if agent.is_sidecar:
            return sidecar_route(route, agent.id)
        remedy = None if self.instances else self._tools.dependencies.remedy(self._waits_for)
        return waiting_route(route, agent.id, reason, remedy) if remedy else route
