"""Takes back what an earlier manager left running: by pid, creation time and boot, confirmed over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from agent_service.contract import AdapterStatus, Registration
from manager.adapter_client import AdapterRefused
from manager.errors import AdapterDied, AdapterTimeout, StateConflict
from manager.store.store import InstanceRecord
from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.exits import report_unseen_exit
from manager.supervision.identity import boot_id, is_running
from manager.supervision.process import Exit, ProcessIdentity
from manager.supervision.tools import Tools

_ON_THEIR_WAY_OUT = frozenset({AdapterStatus.STOPPING, AdapterStatus.STOPPED})

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
        exit_ = exits.get(record.instance_id, Exit())
        # What ended with the machine has ended for no reason of its own.
        if supervisor is not None and record.boot_id == boot_id():
            supervisor.learn_exit(record, exit_)
        else:
            report_unseen_exit(record, exit_, tools)
        await tools.store.remove_instance(record.instance_id)
        tools.spawner.forget(record.instance_id)
        return
    process = tools.spawner.adopt(identity, record.instance_id)
    if supervisor is None:
        log.warning("Agent is no longer in the config; its process is ended", agent_id=record.agent_id, pid=record.pid)
        process.terminate()
        await asyncio.wait({process.exited}, timeout=tools.kill_grace_seconds)
        process.kill()
        await tools.store.remove_instance(record.instance_id)
        return
    port = supervisor.shared_port
    holds_port = port is not None and not await tools.spawner.reclaim(record.agent_id, port, identity)
    supervisor.adopt(process, record, holds_port=holds_port)
    # For a sidecar its probe speaks.
    if not supervisor.agent.is_sidecar and await _register_for(record, tools) in _ON_THEIR_WAY_OUT:
        supervisor.go_on_stopping(record.instance_id)


async def _register_for(record: InstanceRecord, tools: Tools) -> AdapterStatus | None:
    """Register an instance that answers under its own name, rather than wait for its next heartbeat; its status."""
    if record.service_url is None:
        return None
    try:
        info = await tools.adapters.info(record.service_url)
        if info.get("instance_id") == record.instance_id:
            registration = Registration(
                id=record.agent_id, service_url=record.service_url, instance_id=record.instance_id
            )
            await _tell_location(record.service_url, tools)
            report = await tools.adapters.report(record.service_url)
            tools.registry.register(registration)
            tools.registry.note_status(record.instance_id, report)
            return report.status
    except (AdapterDied, AdapterTimeout, StateConflict) as error:
        log.info("Adopted agent is not answering yet", agent_id=record.agent_id, error=error.detail)
    return None


async def _tell_location(service_url: str, tools: Tools) -> None:
    """It reports to the manager that started it; this one may be at another address."""
    try:
        await tools.adapters.tell_location(service_url, tools.launcher.manager_url)
    except AdapterRefused as error:
        # A program of another make need not know how; when it falls silent for it, it is started anew.
        log.info("Adopted agent cannot be told where the manager is", service_url=service_url, error=error.detail)
