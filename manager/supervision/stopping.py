"""Stops one instance: unroute → drain → SIGTERM → SIGKILL, each at a moment that is settled when it begins."""

from __future__ import annotations

import asyncio

import structlog

from agent_service.contract import AdapterAction, StatusReport
from agent_service.plurals import count_text
from manager.errors import AdapterDied, AdapterTimeout
from manager.events import EventKind
from manager.supervision.managed_instance import ManagedInstance, StopPlan
from manager.supervision.tools import Tools

# Seconds before the drain deadline at which is noted what is still in flight.
_LOOK_SECONDS = 0.25
# An adapter's timer may fire so much too early: it counts from when its event loop last woke.
_EARLY_SECONDS = 0.05

log = structlog.get_logger(__name__)


async def stop_instance(instance: ManagedInstance, plan: StopPlan, tools: Tools) -> None:
    """Return when the process has ended, at its plan's `end` at the latest.

    At the deadline the adapter cancels what is left, by itself; SIGTERM is for one that does not.
    """
    tools.registry.unroute(instance.instance_id)
    was_asked = await _ask_to_drain(instance, plan, tools)
    if not was_asked:
        instance.process.terminate()
    work = _work_left(instance, tools)
    for moment in (plan.deadline - _LOOK_SECONDS, plan.deadline):
        # Once the deadline has come, the adapter has cancelled what it had, and may have said goodbye.
        if tools.clock.monotonic() < plan.deadline - _EARLY_SECONDS:
            work = _work_left(instance, tools)
        if await _ended_within(instance, moment - tools.clock.monotonic()):
            # The adapter's deadline is the same moment: it may have cancelled and gone before we woke.
            if tools.clock.monotonic() >= plan.deadline - _EARLY_SECONDS:
                _report_deadline(instance, work, tools)
            return
    _report_deadline(instance, work, tools)
    # Once only: a second one would end an adapter of ours on the spot.
    if was_asked:
        instance.process.terminate()
    if await _ended_within(instance, plan.end - tools.clock.monotonic()):
        return
    log.warning("Process ignored SIGTERM and is killed", agent_id=instance.agent_id, pid=instance.pid)
    instance.process.kill()
    await asyncio.wait({instance.process.exited})


async def _ask_to_drain(instance: ManagedInstance, plan: StopPlan, tools: Tools) -> bool:
    registered = tools.registry.get(instance.instance_id)
    if registered is None or registered.expired or instance.sidecar_url is not None:
        return False
    left = max(0.0, plan.deadline - tools.clock.monotonic())
    try:
        report = await tools.adapters.act(registered.service_url, _action(plan), timeout_seconds=left)
    except (AdapterDied, AdapterTimeout) as error:
        log.warning("Adapter did not take the stop; SIGTERM follows", agent_id=instance.agent_id, error=error.detail)
        return False
    tools.registry.note_status(instance.instance_id, report)
    return True


def _action(plan: StopPlan) -> AdapterAction:
    # Told to restart, an adapter leaves the port that it shares to its successor; told to stop, it says 409 there.
    return AdapterAction.RESTART if plan.replaced else AdapterAction.STOP


async def _ended_within(instance: ManagedInstance, seconds: float) -> bool:
    await asyncio.wait({instance.process.exited}, timeout=max(0.0, seconds))
    return instance.process.exited.done()


def _work_left(instance: ManagedInstance, tools: Tools) -> StatusReport | None:
    registered = tools.registry.get(instance.instance_id)
    return registered.report if registered else None


def _report_deadline(instance: ManagedInstance, report: StatusReport | None, tools: Tools) -> None:
    if report is None or not report.in_flight:
        return
    tasks = count_text(report.in_flight, "task")
    tools.bus.publish(
        EventKind.DRAIN_TIMED_OUT,
        f"{instance.agent_id}: the drain deadline passed with {tasks} in flight, now cancelled",
        agent_id=instance.agent_id,
        instance_id=instance.instance_id,
        in_flight=report.in_flight,
        task_id=report.current_task.task_id if report.current_task else None,
    )
