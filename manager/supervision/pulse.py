"""Takes the pulse of an adopted instance whose own heartbeats this manager refuses, since it has another token.

It is healthy as long as it answers: until its successor is there, or for good if none can be started, it must not be
ended for a silence that is ours. What a stranger sends without the token counts for nothing here: the manager asks.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from agent_service.contract import Heartbeat
from manager.errors import AdapterDied, AdapterTimeout, UnknownInstance
from manager.supervision.tools import Tools


async def take_pulse(instance_id: str, tools: Tools) -> None:
    """Ask for its status as often as it would tell; one that does not answer falls silent as any other."""
    while (known := tools.registry.get(instance_id)) is not None:
        await asyncio.sleep(tools.registry.heartbeat_interval_seconds)
        with suppress(AdapterDied, AdapterTimeout, UnknownInstance):
            report = await tools.adapters.report(known.service_url)
            tools.registry.heartbeat(Heartbeat(id=known.agent_id, instance_id=instance_id, **report.model_dump()))
