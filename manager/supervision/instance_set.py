"""The instances of one agent, and what is done to them one by one: start, watch, align, stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta

import structlog

from agent_service.contract import AdapterStatus
from manager.events import EventKind
from manager.registry.instance import RegisteredInstance
from manager.specs.models import AgentConfig
from manager.store.store import InstanceRecord
from manager.supervision.managed_instance import ManagedInstance, StopPlan
from manager.supervision.pausing import align, missing_action
from manager.supervision.process import Process
from manager.supervision.starting import adopt_instance, start_instance
from manager.supervision.states import DesiredState
from manager.supervision.stopping import stop_instance
from manager.supervision.tools import Tools
from manager.tasks import TaskOwner

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
        self._keep(await start_instance(agent, self._tools, generation=generation, restarts=restarts, paused=paused))

    def adopt(self, process: Process, record: InstanceRecord, *, generation: int) -> None:
        """Take back a process that an earlier manager started."""
        self._keep(adopt_instance(process, record, self._tools, generation=generation))

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
            busy = instance.control is not None and not instance.control.done()
            if known and action and instance.stop is None and not busy:
                self._control(instance, align(instance, known.service_url, action, self._tools), str(action))

    def stop(self, instance: ManagedInstance, seconds: float, reason: str, *, replaced: bool = False) -> None:
        """Drain it for at most `seconds`, then end it; a drain that goes on already gets the new deadline."""
        if instance.control is not None:
            instance.control.cancel()
        plan = self._plan(seconds, reason, replaced=replaced)
        instance.stop = plan
        self._tools.bus.publish(
            EventKind.DRAIN_STARTED,
            f"{self._agent_id} (pid {instance.pid}) drains for at most {seconds:g} s: {reason}",
            agent_id=self._agent_id,
            instance_id=instance.instance_id,
            timeout_seconds=seconds,
        )
        self._control(instance, stop_instance(instance, plan, self._tools), "stop")

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
        until = clock.now() + timedelta(seconds=seconds)
        return StopPlan(reason, clock.monotonic() + seconds, until, replaced)

    def _keep(self, instance: ManagedInstance) -> None:
        self.all.append(instance)
        instance.process.exited.add_done_callback(lambda _: self._wake())

    def _control(self, instance: ManagedInstance, work: Coroutine[object, object, None], what: str) -> None:
        instance.control = asyncio.create_task(work, name=f"{what} {instance.instance_id}")
        instance.control.add_done_callback(self._control_ended)

    def _control_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("Control task failed", agent_id=self._agent_id, task=task.get_name(), exc_info=task.exception())
        self._wake()
