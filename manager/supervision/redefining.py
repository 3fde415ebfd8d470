"""Gives a running instance its agent's new definition: no restart, and calls in flight finish on the old one."""

from __future__ import annotations

from collections.abc import Callable

from agent_service.definition import AgentDefinition
from manager.errors import AdapterDied, AdapterTimeout
from manager.events import EventKind
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.tools import Tools


def must_learn(instance: ManagedInstance, definition: AgentDefinition) -> bool:
    """Whether a ready instance was last told of another definition; of one that was taken back nobody knows."""
    return instance.ready and instance.stop is None and instance.definition != definition


async def redefine(
    instance: ManagedInstance,
    service_url: str,
    definition: AgentDefinition,
    tools: Tools,
    refused: Callable[[str], None],
) -> None:
    """Tell the instance, once; `refused` is called with the reason where it does not take it over."""
    instance.definition = definition
    try:
        is_new = await tools.adapters.reload(service_url, definition)
    except (AdapterDied, AdapterTimeout) as error:
        _publish(EventKind.DEFINITION_REFUSED, instance, f"did not take over its new definition: {error.detail}", tools)
        refused(error.detail)
    else:
        if is_new:
            _publish(EventKind.DEFINITION_RELOADED, instance, "has taken over its new definition", tools)


def _publish(kind: EventKind, instance: ManagedInstance, what: str, tools: Tools) -> None:
    tools.bus.publish(
        kind,
        f"{instance.agent_id} (pid {instance.pid}) {what}",
        agent_id=instance.agent_id,
        instance_id=instance.instance_id,
    )
