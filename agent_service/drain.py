"""The drain: wait for work in flight and queued until the deadline, then cancel and name what is left."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from agent_service.errors import TaskCancelled
from agent_service.lifecycle import Lifecycle
from agent_service.tasks import Tasks

log = structlog.stdlib.get_logger(__name__)

# Seconds that cancelled code has for its own cleaning up.
CANCEL_GRACE_SECONDS = 1.0


async def drain(lifecycle: Lifecycle, tasks: Tasks, monotonic: Callable[[], float] = time.monotonic) -> None:
    """Drain, then finish the lifecycle. Returns with tasks left only where their threads cannot be interrupted."""
    began = monotonic()
    before = tasks.report()
    log.info(
        "Draining",
        in_flight=before.in_flight,
        queued=before.queued,
        timeout_seconds=round(lifecycle.drain_seconds_left(), 3),
    )
    await _until_idle(lifecycle, tasks, lifecycle.drain_seconds_left)
    if tasks.busy:
        _cancel_the_rest(tasks)
        end = monotonic() + CANCEL_GRACE_SECONDS
        await _until_idle(lifecycle, tasks, lambda: end - monotonic())
    lifecycle.finish()
    log.info("Drained", waited_ms=round((monotonic() - began) * 1000), left=tasks.report().in_flight)


async def _until_idle(lifecycle: Lifecycle, tasks: Tasks, seconds_left: Callable[[], float]) -> None:
    while tasks.busy and (left := seconds_left()) > 0:
        await lifecycle.activity.wait(left)


def _cancel_the_rest(tasks: Tasks) -> None:
    reason = TaskCancelled("The agent stopped before this task was done; send it again once the agent is back.")
    for job in tasks.cancel_all(reason):
        ran = job.running_seconds
        log.warning(
            "Task cancelled at the drain deadline",
            task_id=job.task_id,
            ran_ms=None if ran is None else round(ran * 1000),
        )
