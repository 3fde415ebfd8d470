"""Brings an instance's own status in line with what is desired: pause or resume, one call at a time."""

from __future__ import annotations

import asyncio

import structlog

from agent_service.contract import AdapterAction, AdapterStatus
from manager.errors import AdapterDied, AdapterTimeout
from manager.registry.instance import RegisteredInstance
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.states import DesiredState
from manager.supervision.tools import Tools

_RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


def missing_action(registered: RegisteredInstance | None, desired: DesiredState) -> AdapterAction | None:
    """What the adapter must be told, if anything; an instance that is silent or draining is told nothing."""
    status = registered.report.status if registered and not registered.expired else None
    if status is AdapterStatus.RUNNING and desired is DesiredState.PAUSED:
        return AdapterAction.PAUSE
    if status is AdapterStatus.PAUSED and desired is DesiredState.RUNNING:
        return AdapterAction.RESUME
    return None


async def align(instance: ManagedInstance, service_url: str, action: AdapterAction, tools: Tools) -> None:
    """Tell the adapter once. A failure is logged; the caller tries again after this has returned."""
    try:
        report = await tools.adapters.act(service_url, action)
        tools.registry.note_status(instance.instance_id, report)
    except (AdapterDied, AdapterTimeout) as error:
        log.warning("Adapter did not take the action", agent_id=instance.agent_id, action=action, error=error.detail)
        await asyncio.sleep(_RETRY_SECONDS)
