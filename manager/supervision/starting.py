"""Brings one instance to life, or back under supervision, and strikes it off when it has ended."""

from __future__ import annotations

from datetime import datetime

import structlog

from manager.errors import SpawnFailed, StoreUnavailable
from manager.events import EventKind
from manager.specs.models import AgentConfig
from manager.store.store import InstanceRecord
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.process import Process
from manager.supervision.tools import Tools

log = structlog.get_logger(__name__)


async def start_instance(
    agent: AgentConfig, tools: Tools, *, generation: int, restarts: int, paused: bool
) -> ManagedInstance:
    """Start a process for `agent`. Raises `ConfigError` (an unresolvable reference) or `SpawnFailed`."""
    if agent.is_sidecar:
        await _secure_address(agent, tools)
    launch = tools.launcher.launch(agent, paused=paused)
    # Before the process exists: it may register before `spawn` returns.
    tools.registry.expect(agent.id, launch.instance_id)
    log_offset = tools.log_size(agent.id)
    ordered = tools.clock.monotonic()
    try:
        process = await tools.spawner.spawn(launch)
    except SpawnFailed:
        tools.registry.forget(launch.instance_id)
        raise
    instance = ManagedInstance(
        agent_id=agent.id,
        instance_id=launch.instance_id,
        generation=generation,
        process=process,
        started_at=tools.clock.now(),
        started=tools.clock.monotonic(),
        expected_since=tools.clock.monotonic(),
        log_offset=log_offset,
        sidecar_url=launch.sidecar_url,
        definition=launch.definition,
    )
    tools.bus.publish(
        EventKind.INSTANCE_STARTED,
        f"{agent.id} started (pid {instance.pid})",
        agent_id=agent.id,
        instance_id=instance.instance_id,
        pid=instance.pid,
        spawn_seconds=round(instance.started - ordered, 3),
    )
    await _write_down(instance, tools, restarts)
    return instance


async def _secure_address(agent: AgentConfig, tools: Tools) -> None:
    before = await tools.launcher.addresses.secure(agent)
    if before is not None:
        address = tools.launcher.addresses.of(agent.id)
        tools.bus.publish(
            EventKind.SIDECAR_MOVED,
            f"{agent.id} moves to {address}, for another process listens at {before}",
            agent_id=agent.id,
            address=address,
            before=before,
        )


def adopt_instance(
    agent: AgentConfig, process: Process, record: InstanceRecord, tools: Tools, *, generation: int
) -> ManagedInstance:
    """Take back a process of `agent` that an earlier manager started."""
    tools.registry.expect(record.agent_id, record.instance_id)
    tools.bus.publish(
        EventKind.INSTANCE_ADOPTED,
        f"{record.agent_id} (pid {record.pid}) was taken back from an earlier manager",
        agent_id=record.agent_id,
        instance_id=record.instance_id,
        pid=record.pid,
    )
    return ManagedInstance(
        agent_id=record.agent_id,
        instance_id=record.instance_id,
        generation=generation,
        process=process,
        started_at=datetime.fromisoformat(record.started_at),
        started=tools.clock.monotonic() - lived_seconds(record, tools),
        expected_since=tools.clock.monotonic(),
        log_offset=record.log_offset,
        sidecar_url=record.service_url if agent.is_sidecar else None,
    )


def lived_seconds(record: InstanceRecord, tools: Tools) -> float:
    """How long ago an instance on record was started."""
    return max(0.0, (tools.clock.now() - datetime.fromisoformat(record.started_at)).total_seconds())


async def strike_off(instance: ManagedInstance, tools: Tools) -> None:
    """Forget an instance whose process has ended, and end what it left behind in its process group."""
    instance.process.kill()
    tools.registry.forget(instance.instance_id)
    try:
        await tools.store.remove_instance(instance.instance_id)
        # Only now: until it is struck off, a next manager would ask how it ended.
        tools.spawner.forget(instance.instance_id)
    except StoreUnavailable as error:
        # The record of a process that is gone does no harm: the next manager finds it dead.
        log.error("Ended process could not be struck off", agent_id=instance.agent_id, error=error.detail)


async def _write_down(instance: ManagedInstance, tools: Tools, restarts: int) -> None:
    identity = instance.process.identity
    registered = tools.registry.get(instance.instance_id)
    record = InstanceRecord(
        instance_id=instance.instance_id,
        agent_id=instance.agent_id,
        pid=identity.pid,
        process_created_at=identity.created_at,
        boot_id=identity.boot_id,
        started_at=instance.started_at.isoformat(timespec="milliseconds"),
        # It may have registered while it was being started; otherwise its address is added when it does.
        service_url=registered.service_url if registered else instance.sidecar_url,
        log_offset=instance.log_offset,
        restarts=restarts,
    )
    try:
        await tools.store.add_instance(record)
    except StoreUnavailable as error:
        log.error("Started process could not be written down", agent_id=instance.agent_id, error=error.detail)
