"""Ends processes that hold more memory than their agent's `limits.memory_mb` allows."""

from __future__ import annotations

from collections.abc import Iterable

from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.resources import ResourceSampler

_MIB = 1024 * 1024


def enforce_memory_limits(supervisors: Iterable[AgentSupervisor], resources: ResourceSampler) -> None:
    """Look at the newest samples. Resident memory counts; address space, which is only reserved, does not."""
    for supervisor in supervisors:
        limit = supervisor.agent.limits.memory_mb
        if limit is None:
            continue
        for instance in supervisor.instances:
            usage = resources.usage(instance.pid)
            if usage is not None and usage.rss_bytes > limit * _MIB and instance.stop is None:
                held = f"held {usage.rss_bytes / _MIB:.0f} MiB of memory, over its limit of {limit} MiB"
                supervisor.end_for(instance, f"{held}, and was killed")
