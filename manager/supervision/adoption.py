"""Takes back what an earlier manager left running: by pid, creation time and boot, confirmed over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from agent_service.contract import Registration
from manager.errors import AdapterDied, AdapterTimeout, StateConflict
from manager.events import EventKind
from manager.store.store import InstanceRecord
from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.identity import is_running
from manager.supervision.process import Exit, ProcessIdentity
from manager.supervision.tools import Tools

log = structlog.get_logger(__name__)


async def adopt_all(supervisors: Mapping[str, AgentSupervisor], tools: Tools) -> None:
    """Find every process on record; those that live go back under supervision, the others are struck off."""
    records = await tools.store.instances()
    exits = await tools.spawner.collect()
    await asyncio.gather(*(_adopt(record, exits, supervisors.get(record.agent_id), tools) for record in records))
    for instance_id, (agent_id, identity) in tools.spawner.strays().items():
        # Started by a manager that died before it could write it down: nobody ever knew it.
        log.warning("Process that no manager has on record is ended", agent_id=agent_id, pid=identity.pid)
        tools.spawner.adopt(identity, instance_id).kill()


async def _adopt(
    record: InstanceRecord, exits: Mapping[str, Exit], supervisor: AgentSupervisor | None, tools: Tools
) -> None:
    identity = ProcessIdentity(record.pid, record.process_created_at, record.boot_id)
    if record.instance_id in exits or not is_running(identity):
        await _strike_off(record, exits.get(record.instance_id, Exit()), tools)
        return
    process = tools.spawner.adopt(identity, record.instance_id)
    if supervisor is None:
        log.warning("Agent is no longer in the config; its process is ended", agent_id=record.agent_id, pid=record.pid)
        process.terminate()
        await asyncio.wait({process.exited}, timeout=tools.kill_grace_seconds)
        process.kill()
        await tools.store.remove_instance(record.instance_id)
        return
    supervisor.adopt(process, record)
    await _register_for(record, tools)


async def _strike_off(record: InstanceRecord, exit_: Exit, tools: Tools) -> None:
    tools.bus.publish(
        EventKind.INSTANCE_EXITED,
        f"{record.agent_id} (pid {record.pid}) {exit_} while no manager was there to see it",
        agent_id=record.agent_id,
        instance_id=record.instance_id,
        code=exit_.code,
        signal=exit_.signal,
        expected=False,
        pid=record.pid,
    )
    await tools.store.remove_instance(record.instance_id)
    tools.spawner.forget(record.instance_id)


async def _register_for(record: InstanceRecord, tools: Tools) -> None:
    """Register an instance that answers under its own name, rather than wait for its next heartbeat."""
    if record.service_url is None:
        return
    try:
        info = await tools.adapters.info(record.service_url)
        if info.get("instance_id") == record.instance_id:
            registration = Registration(
                id=record.agent_id, service_url=record.service_url, instance_id=record.instance_id
            )
            report = await tools.adapters.report(record.service_url)
            tools.registry.register(registration)
            tools.registry.note_status(record.instance_id, report)
    except (AdapterDied, AdapterTimeout, StateConflict) as error:
        log.info("Adopted agent is not answering yet", agent_id=record.agent_id, error=error.detail)
