"""Tells how a process ended: as asked, by a crash, or by our own hand, with what its log has to say."""

from __future__ import annotations

from manager.events import EventKind
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.process import Exit
from manager.supervision.tools import Tools
from manager.supervision.views import LastExit


def report_exit(instance: ManagedInstance, tools: Tools) -> LastExit:
    """Publish the end of `instance` and answer it as the views show it."""
    exit_ = instance.process.exited.result()
    reason = _reason(instance, exit_, tools)
    tools.bus.publish(
        EventKind.INSTANCE_EXITED,
        f"{instance.agent_id} (pid {instance.pid}) {reason}",
        agent_id=instance.agent_id,
        instance_id=instance.instance_id,
        code=exit_.code,
        signal=exit_.signal,
        expected=instance.stop is not None and instance.failure is None,
        pid=instance.pid,
    )
    return LastExit(code=exit_.code, signal=exit_.signal, reason=reason, at=tools.clock.now())


def _reason(instance: ManagedInstance, exit_: Exit, tools: Tools) -> str:
    if instance.failure is not None:
        return f"{instance.failure}; {exit_}"
    if instance.stop is not None and exit_.code == 0:
        return f"{exit_}: {instance.stop.reason}"
    registered = tools.registry.get(instance.instance_id)
    busy = f" with {registered.in_flight} task(s) in flight" if registered and registered.in_flight else ""
    if instance.stop is not None:
        return f"{exit_} while it was being stopped{busy}: {instance.stop.reason}"
    words = tools.last_words(instance.agent_id, instance.log_offset) if exit_.code != 0 else None
    return f"{exit_}{busy}" + (f": {words}" if words else "")
