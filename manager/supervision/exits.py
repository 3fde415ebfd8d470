"""Tells how a process ended: as asked, by a crash, or by our own hand, with what its log has to say."""

from __future__ import annotations

from agent_service.plurals import count_text
from manager.events import EventKind
from manager.store.store import InstanceRecord
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.process import Exit
from manager.supervision.tools import Tools
from manager.supervision.views import LastExit


def report_exit(instance: ManagedInstance, tools: Tools) -> LastExit:
    """Publish the end of `instance` and answer it as the views show it."""
    exit_ = instance.process.exited.result()
    by_manager = instance.failure is not None
    expected = instance.stop is not None and not by_manager
    return _report(instance, exit_, _reason(instance, exit_, tools), tools, expected=expected, by_manager=by_manager)


def report_unseen_exit(record: InstanceRecord, exit_: Exit, tools: Tools) -> LastExit:
    """The same for an instance on record that ended while no manager was there."""
    return _report(record, exit_, f"{exit_} while no manager was there to see it", tools, expected=False)


def _report(
    ended: ManagedInstance | InstanceRecord,
    exit_: Exit,
    reason: str,
    tools: Tools,
    *,
    expected: bool,
    by_manager: bool = False,
) -> LastExit:
    tools.bus.publish(
        EventKind.INSTANCE_EXITED,
        f"{ended.agent_id} (pid {ended.pid}) {reason}",
        agent_id=ended.agent_id,
        instance_id=ended.instance_id,
        code=exit_.code,
        signal=exit_.signal,
        expected=expected,
        by_manager=by_manager,
        pid=ended.pid,
    )
    return LastExit(code=exit_.code, signal=exit_.signal, reason=reason, at=tools.clock.now())


def _reason(instance: ManagedInstance, exit_: Exit, tools: Tools) -> str:
    if instance.failure is not None:
        return f"{instance.failure}; {exit_}"
    if instance.stop is not None and exit_.code == 0:
        return f"{exit_}: {instance.stop.reason}"
    registered = tools.registry.get(instance.instance_id)
    # Its connections may have broken before its end is told: then only its last report knows.
    tasks = max(registered.in_flight, registered.report.in_flight) if registered else 0
    busy = f" with {count_text(tasks, 'task')} in flight" if tasks else ""
    if instance.stop is not None:
        return f"{exit_} while it was being stopped{busy}: {instance.stop.reason}"
    words = tools.last_words(instance.agent_id, instance.log_offset) if exit_.code != 0 else None
    return f"{exit_}{busy}" + (f": {words}" if words else "")
