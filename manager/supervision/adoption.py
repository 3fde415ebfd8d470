"""Takes back what an earlier manager left running: by pid, creation time and boot, confirmed over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from agent_service.contract import Registration
from manager.errors import AdapterDied, AdapterTimeout, StateConflict
from manager.events import EventKind
from manager.store.store import InstanceRecord
from manager.supervision.adopted_process import AdoptedProcess
from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.identity import is_running
from manager.supervision.process import ProcessIdentity
from manager.supervision.tools import Tools

log = structlog.get_logger(__name__)


async def adopt_all(supervisors: Mapping[str, AgentSupervisor], tools: Tools) -> None:
    """Find every process on record; those that live go back under supervision, the others are struck off."""
    records = await tools.store.instances()
    await asyncio.gather(*(_adopt(record, supervisors.get(record.agent_id), tools) for record in records))


async def _adopt(record: InstanceRecord, supervisor: AgentSupervisor | None, tools: Tools) -> None:
    identity = ProcessIdentity(record.pid, record.process_created_at, record.boot_id)
    if not is_running(identity):
        await _strike_off(record, tools)
        return
    process = AdoptedProcess(identity)
    if supervisor is None:
        log.warning("Agent is no longer in the config; its process is ended", agent_id=record.agent_id, pid=record.pid)
        process.terminate()
        await asyncio.wait({process.exited}, timeout=tools.kill_grace_seconds)
        process.kill()
        await tools.store.remove_instance(record.instance_id)
        return
    supervisor.adopt(process, record)
    await _register_for(record, tools)


async def _strike_off(record: InstanceRecord, tools: Tools) -> None:
    tools.bus.publish(
        EventKind.INSTANCE_EXITED,
        f"{record.agent_id} (pid {record.pid}) ended while no manager was there to see it",
        agent_id=record.agent_id,
        instance_id=record.instance_id,
        code=None,
        signal=None,
        expected=False,
        pid=record.pid,
    )
    await tools.store.remove_instance(record.instance_id)


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
