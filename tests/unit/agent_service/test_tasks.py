from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent_service.contract import AdapterAction
from agent_service.errors import AgentFailed, NotReady, Overloaded, Refusal, StateConflict, TaskCancelled
from tests.unit.agent_service.harness import STARTED_AT, Adapter


def gate() -> tuple[asyncio.Event, Callable[[], Awaitable[str]]]:
    opened = asyncio.Event()

    async def work() -> str:
        await opened.wait()
        return "done"

    return opened, work


def outcomes(adapter: Adapter) -> dict[str, float]:
    registry = adapter.tasks.metrics.registry
    names = ("succeeded", "failed", "cancelled", "rejected")
    found = {name: registry.get_sample_value("agent_tasks_total", {"outcome": name}) or 0 for name in names}
    return {name: value for name, value in found.items() if value}


def test_a_task_runs_and_is_counted() -> None:
    async def scenario() -> None:
        adapter = Adapter()
        opened, work = gate()
        job = adapter.tasks.submit(work)
        await job.started.wait()
        report = adapter.tasks.report()
        assert (report.in_flight, report.queued, report.tasks_total) == (1, 0, 0)
        assert report.current_task is not None
        assert (report.current_task.task_id, report.current_task.started_at) == (job.task_id, STARTED_AT)
        adapter.clock.seconds += 1.5
        opened.set()
        answer = await job.answer
        assert (answer.result, answer.duration_ms) == (b'"done"', 1500)
        await adapter.until(lambda: not adapter.tasks.busy)
        report = adapter.tasks.report()
        assert (report.in_flight, report.tasks_total, report.tasks_failed) == (0, 1, 0)
        assert report.current_task is None
        assert outcomes(adapter) == {"succeeded": 1}
        assert adapter.tasks.metrics.registry.get_sample_value("agent_task_duration_seconds_sum") == 1.5

    asyncio.run(scenario())


def test_slots_and_queue_are_limited_and_first_come_is_first_served() -> None:
    async def scenario() -> None:
        adapter = Adapter(max_concurrency=2, max_queue=2)
        gates = [gate() for _ in range(4)]
        jobs = [adapter.tasks.submit(work) for _, work in gates]
        await adapter.until(lambda: jobs[1].started.is_set())
        report = adapter.tasks.report()
        assert (report.in_flight, report.queued) == (2, 2)
        with pytest.raises(Overloaded, match=r"All 2 slots .* all 2 places") as refused:
            adapter.tasks.submit(gates[0][1])
        assert refused.value.retry_after_seconds == 1
        gates[1][0].set()
        await jobs[2].started.wait()
        assert not jobs[3].started.is_set()
        for opened, _ in gates:
            opened.set()
        await asyncio.gather(*(job.answer for job in jobs))
        assert outcomes(adapter) == {"succeeded": 4, "rejected": 1}

    asyncio.run(scenario())


def test_without_a_queue_a_full_house_refuses_at_once() -> None:
    async def scenario() -> None:
        adapter = Adapter(max_concurrency=1, max_queue=0)
        opened, work = gate()
        job = adapter.tasks.submit(work)
        with pytest.raises(Overloaded):
            adapter.tasks.submit(work)
        opened.set()
        await job.answer

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("prepare", "error", "sentence"),
    [
        (lambda adapter: adapter.lifecycle.act(AdapterAction.PAUSE), StateConflict, "paused .* resume it"),
        (lambda adapter: adapter.lifecycle.act(AdapterAction.STOP), StateConflict, "stopping .* started anew"),
        (lambda adapter: setattr(adapter.lifecycle, "ready", False), NotReady, "still starting"),
    ],
)
def test_no_work_is_taken_when_the_lifecycle_forbids_it(
    prepare: Callable[[Adapter], object], error: type[Refusal], sentence: str
) -> None:
    async def scenario() -> None:
        adapter = Adapter()
        prepare(adapter)
        with pytest.raises(error, match=sentence):
            adapter.tasks.submit(gate()[1])
        with pytest.raises(error, match=sentence):
            adapter.tasks.check_open()
        assert outcomes(adapter) == {"rejected": 2}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "error", [ValueError("boom"), SystemExit("boom"), KeyboardInterrupt("boom"), GeneratorExit("boom")]
)
def test_whatever_the_agent_raises_fails_its_task_only(error: BaseException) -> None:
    async def scenario() -> None:
        adapter = Adapter()

        async def work() -> None:
            raise error

        job = adapter.tasks.submit(work)
        with pytest.raises(AgentFailed, match=f"failed: {type(error).__name__}: boom"):
            await job.answer
        await adapter.until(lambda: not adapter.tasks.busy)
        assert adapter.tasks.report().tasks_failed == 1
        assert outcomes(adapter) == {"failed": 1}

    asyncio.run(scenario())


def test_a_cancellation_out_of_the_agents_own_code_is_a_failure() -> None:
    async def scenario() -> None:
        adapter = Adapter()

        async def work() -> None:
            raise asyncio.CancelledError

        with pytest.raises(AgentFailed, match="CancelledError"):
            await adapter.tasks.submit(work).answer
        await adapter.until(lambda: not adapter.tasks.busy)
        assert outcomes(adapter) == {"failed": 1}

    asyncio.run(scenario())


def test_a_result_without_a_json_form_fails_the_task() -> None:
    async def scenario() -> None:
        adapter = Adapter()
        endless: list[object] = []
        endless.append(endless)

        async def work() -> object:
            return endless

        with pytest.raises(AgentFailed, match="result, of type list, cannot be made JSON"):
            await adapter.tasks.submit(work).answer

    asyncio.run(scenario())


def test_a_cancelled_task_is_answered_at_once_and_keeps_its_slot_until_its_code_ends() -> None:
    async def scenario() -> None:
        adapter = Adapter(max_concurrency=1)
        let_go = asyncio.Event()

        async def clings() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await let_go.wait()

        first = adapter.tasks.submit(clings)
        await first.started.wait()
        first.cancel(TaskCancelled("enough"))
        with pytest.raises(TaskCancelled, match="enough"):
            await first.answer
        opened, work = gate()
        opened.set()
        second = adapter.tasks.submit(work)
        await asyncio.sleep(0)
        assert adapter.tasks.report().in_flight == 1
        assert not second.started.is_set()
        let_go.set()
        assert (await second.answer).result == b'"done"'
        assert outcomes(adapter)["cancelled"] == 1

    asyncio.run(scenario())


def test_a_task_cancelled_in_the_queue_never_starts_and_gives_its_place_back() -> None:
    async def scenario() -> None:
        adapter = Adapter(max_concurrency=1, max_queue=1)
        opened, work = gate()
        running = adapter.tasks.submit(work)
        waiting = adapter.tasks.submit(work)
        waiting.cancel(TaskCancelled("gone"))
        await adapter.until(lambda: adapter.tasks.queued == 0 and running.started.is_set())
        assert not waiting.started.is_set()
        assert outcomes(adapter) == {"cancelled": 1}
        assert adapter.tasks.metrics.registry.get_sample_value("agent_task_duration_seconds_count") == 0
        adapter.tasks.submit(work)
        opened.set()
        await running.answer

    asyncio.run(scenario())


def test_a_late_result_does_not_undo_a_cancellation() -> None:
    async def scenario() -> None:
        adapter = Adapter()

        async def insists() -> str:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "late"
            return "never"

        job = adapter.tasks.submit(insists)
        await job.started.wait()
        job.cancel(TaskCancelled("enough"))
        await adapter.until(lambda: not adapter.tasks.busy)
        assert isinstance(job.answer.exception(), TaskCancelled)
        assert outcomes(adapter) == {"cancelled": 1}

    asyncio.run(scenario())
