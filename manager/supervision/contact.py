"""Gets in touch with an adopted instance rather than wait for its heartbeat, which may go to a manager elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from agent_service.contract import AdapterStatus, Registration
from manager.adapter_client import AdapterRefused, OtherToken
from manager.errors import AdapterDied, AdapterTimeout, StateConflict
from manager.store.store import InstanceRecord
from manager.supervision.tools import Tools

_RETRY_SECONDS = 1.0
_ON_THEIR_WAY_OUT = frozenset({AdapterStatus.STOPPING, AdapterStatus.STOPPED})

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class News:
    """What is called with what the instance tells: that it is about to end, or that it has not the manager's token."""

    leaving: Callable[[], None]
    other_token: Callable[[], None]


async def contact(record: InstanceRecord, tools: Tools, news: News) -> bool:
    """Whether it answers at its address on record, and so is registered."""
    return record.service_url is not None and await _answers(record.service_url, record, tools, news)


async def keep_contacting(record: InstanceRecord, tools: Tools, news: News) -> None:
    """Until it is registered: at its address on record, and wherever its process listens by now."""
    while tools.registry.get(record.instance_id) is None:
        await asyncio.sleep(_RETRY_SECONDS)
        for service_url in [*([record.service_url] if record.service_url else []), *await tools.listening(record.pid)]:
            if await _answers(service_url, record, tools, news):
                return


async def _answers(service_url: str, record: InstanceRecord, tools: Tools, news: News) -> bool:
    try:
        info = await tools.adapters.info(service_url)
        if info.get("instance_id") != record.instance_id:
            return False
        has_our_token = await _tell_location(service_url, tools)
        # An earlier manager may have been killed between writing it down and telling.
        await tools.tell_tracing(record.agent_id, service_url)
        report = await tools.adapters.report(service_url)
        tools.registry.register(
            Registration(id=record.agent_id, service_url=service_url, instance_id=record.instance_id)
        )
        tools.registry.note_status(record.instance_id, report)
    except (AdapterDied, AdapterTimeout, StateConflict) as error:
        log.info("Adopted agent is not answering yet", agent_id=record.agent_id, error=error.detail)
        return False
    if report.status in _ON_THEIR_WAY_OUT:
        news.leaving()
    elif not has_our_token:
        news.other_token()
    return True


async def _tell_location(service_url: str, tools: Tools) -> bool:
    """It reports to the manager that started it; this one may be at another address, and have another token."""
    try:
        await tools.adapters.tell_location(service_url, tools.launcher.manager_url)
    except OtherToken as error:
        log.warning("Adopted agent has not the manager's token", service_url=service_url, error=error.detail)
        return False
    except AdapterRefused as error:
        # A program of another make need not know how; when it falls silent for it, it is started anew.
        log.info("Adopted agent cannot be told where the manager is", service_url=service_url, error=error.detail)
    return True
