"""Takes back what an earlier manager left running: by pid, creation time and boot, confirmed over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from manager.store.store import InstanceRecord
from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.exits import report_unseen_exit
from manager.supervision.identity import boot_id, is_running
from manager.supervision.process import Exit, ProcessIdentity
from manager.supervision.tools import Tools

log = structlog.get_logger(__name__)


async def adopt_all(supervisors: Mapping[str, AgentSupervisor], tools: Tools) -> None:
    """Find every process on record; those that live go back under supervision, the others are struck off."""
    records = await tools.store.instances()
    exits = await tools.spawner.collect()
    await asyncio.gather(*(_adopt(record, exits, supervisors.get(record.agent_id), tools) for record in records))
    ending = []
    for instance_id, (agent_id, identity) in tools.spawner.strays().items():
        # Started by a manager that died before it could write it down: nobody ever knew it.
        log.warning(
            "Process that no manager has on record is ended",
            agent_id=agent_id,
            instance_id=instance_id,
            pid=identity.pid,
        )
        process = tools.spawner.adopt(identity, instance_id)
        process.kill()
        ending.append(process.exited)
    if ending:
        # Its port is wanted for the next start.
        await asyncio.wait(ending, timeout=tools.kill_grace_seconds)


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
    await supervisor.adopt(process, record, holds_port=holds_port)
