from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import structlog

from agent_service.stack_report import StackReport, TaskStack
from agent_service.task_stacks import task_stacks, thread_stacks
from tests.unit.agent_service.harness import Adapter


async def innermost(event: asyncio.Event) -> None:
    await event.wait()


async def outermost(event: asyncio.Event) -> None:
    await innermost(event)


async def numbers(event: asyncio.Event) -> AsyncIterator[int]:
    await event.wait()
    yield 1


async def reader(event: asyncio.Event) -> None:
    async for _ in numbers(event):
        pass


async def recursive(event: asyncio.Event, depth: int) -> None:
    await (recursive(event, depth - 1) if depth else event.wait())


def seen(make: Any, ages: dict[str, float] | None = None) -> TaskStack:
    """The stack of a task of `make(event)` that has come to wait."""

    async def scenario() -> TaskStack:
        event = asyncio.Event()
        task = asyncio.create_task(make(event), name="under test")
        await asyncio.sleep(0)
        try:
            return task_stacks([task], ages or {})[0]
        finally:
            event.set()
            await task

    return asyncio.run(scenario())


def functions(stack: TaskStack) -> list[str]:
    return [frame.function.rpartition(".")[2] for frame in stack.stack]


def test_a_task_is_told_with_the_whole_chain_that_it_awaits_outermost_first() -> None:
    found = seen(outermost)
    assert functions(found) == ["outermost", "innermost", "wait"]
    assert found.name == "under test"
    assert found.waits_for == "Future"
    assert found.stack[0].file == __file__
    assert found.stack[0].code == "await innermost(event)"


def test_the_chain_goes_through_an_asynchronous_generator() -> None:
    assert functions(seen(reader)) == ["reader", "numbers", "wait"]


def test_a_task_that_waits_for_another_names_it() -> None:
    async def parent(event: asyncio.Event) -> None:
        await asyncio.create_task(innermost(event), name="the child")

    assert seen(parent).waits_for == "the task 'the child'"


def test_a_task_that_waits_for_several_says_so() -> None:
    async def parent(event: asyncio.Event) -> None:
        await asyncio.gather(innermost(event), innermost(event))

    assert seen(parent).waits_for == "2 others"


def test_a_recursion_is_cut() -> None:
    assert len(seen(lambda event: recursive(event, 500)).stack) == 100


def test_a_task_is_told_with_the_request_that_it_serves() -> None:
    async def serve(event: asyncio.Event) -> None:
        structlog.contextvars.bind_contextvars(task_id="t1", request_id="r1", trace_id="a" * 32, other="x")
        await event.wait()

    found = seen(serve, {"t1": 2.5})
    assert (found.task_id, found.request_id, found.trace_id, found.age_seconds) == ("t1", "r1", "a" * 32, 2.5)


def test_a_task_of_no_request_has_no_ids() -> None:
    found = seen(outermost, {"t1": 2.5})
    assert (found.task_id, found.request_id, found.trace_id, found.age_seconds) == (None, None, None, None)


def test_threads_are_told_by_name_but_not_the_one_that_asks() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="agent_0", daemon=True)
    thread.start()
    try:
        found = {stack.name: stack.stack for stack in thread_stacks()}
    finally:
        release.set()
        thread.join()
    assert [frame.function for frame in found["agent_0"]][-1] in ("Event.wait", "Condition.wait")
    assert threading.current_thread().name not in found


def test_the_adapter_tells_what_its_tasks_do_the_agent_s_first() -> None:
    async def scenario() -> StackReport:
        adapter = Adapter()
        async with adapter.client() as client:
            working = asyncio.create_task(client.post("/execute", json={"parameters": {"sleep_ms": 60_000}}), name="A")
            while adapter.tasks.report().in_flight == 0:
                await asyncio.sleep(0)
            answer = await client.get("/stacks")
            working.cancel()
            await asyncio.wait({working})
            assert answer.status_code == 200
            return StackReport.model_validate_json(answer.content)

    report = asyncio.run(scenario())
    first = report.tasks[0]
    assert first.name == f"agent task {first.task_id}"
    assert first.age_seconds is not None
    assert any(frame.file.endswith("dummy.py") for frame in first.stack)
    assert report.instance_id == "a-1"


def test_the_stacks_need_the_token() -> None:
    async def scenario() -> int:
        async with Adapter(tokens=("secret",)).client() as client:
            return (await client.get("/stacks")).status_code

    assert asyncio.run(scenario()) == 401
