from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from agent_service import drain as subject
from agent_service.contract import AdapterAction, AdapterStatus
from agent_service.errors import TaskCancelled
from tests.unit.agent_service.harness import Adapter


def test_the_drain_waits_for_running_and_queued_tasks() -> None:
    async def scenario() -> None:
        adapter = Adapter(max_concurrency=1)
        opened = asyncio.Event()
        jobs = [adapter.tasks.submit(opened.wait) for _ in range(2)]
        adapter.lifecycle.act(AdapterAction.STOP)
        draining = asyncio.create_task(subject.drain(adapter.lifecycle, adapter.tasks))
        await jobs[0].started.wait()
        assert adapter.lifecycle.stopping
        opened.set()
        await draining
        assert [job.answer.result().result for job in jobs] == [b"true", b"true"]
        assert adapter.lifecycle.status is AdapterStatus.STOPPED

    asyncio.run(scenario())


def test_past_the_deadline_what_is_left_is_cancelled_and_named() -> None:
    async def scenario() -> None:
        adapter = Adapter(max_concurrency=1)
        jobs = [adapter.tasks.submit(asyncio.Event().wait) for _ in range(2)]
        await jobs[0].started.wait()
        adapter.clock.seconds += 4
        adapter.lifecycle.act(AdapterAction.STOP, 0)
        with capture_logs() as lines:
            await subject.drain(adapter.lifecycle, adapter.tasks)
        named = [line for line in lines if line["event"] == "Task cancelled at the drain deadline"]
        assert [(line["task_id"], line["ran_ms"]) for line in named] == [
            (jobs[0].task_id, 4000),
            (jobs[1].task_id, None),
        ]
        for job in jobs:
            with pytest.raises(TaskCancelled, match="The agent stopped before this task was done"):
                await job.answer
        assert adapter.lifecycle.status is AdapterStatus.STOPPED
        assert not adapter.tasks.busy

    asyncio.run(scenario())


def test_a_deadline_brought_nearer_ends_the_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "CANCEL_GRACE_SECONDS", 10.0)

    async def scenario() -> None:
        adapter = Adapter()
        job = adapter.tasks.submit(asyncio.Event().wait)
        await job.started.wait()
        adapter.lifecycle.act(AdapterAction.STOP, 3600)
        draining = asyncio.create_task(subject.drain(adapter.lifecycle, adapter.tasks))
        await asyncio.sleep(0)
        adapter.lifecycle.act(AdapterAction.STOP, 0)
        await asyncio.wait_for(draining, 10)
        assert isinstance(job.answer.exception(), TaskCancelled)

    asyncio.run(scenario())


def test_code_that_does_not_end_does_not_hold_the_drain_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "CANCEL_GRACE_SECONDS", 0.0)

    async def scenario() -> None:
        adapter = Adapter()
        released = asyncio.Event()

        async def clings() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await released.wait()

        job = adapter.tasks.submit(clings)
        await job.started.wait()
        adapter.lifecycle.act(AdapterAction.STOP, 0)
        await subject.drain(adapter.lifecycle, adapter.tasks)
        assert adapter.tasks.busy
        released.set()
        await adapter.until(lambda: not adapter.tasks.busy)

    asyncio.run(scenario())
