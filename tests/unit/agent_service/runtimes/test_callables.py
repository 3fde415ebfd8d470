from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from agent_service.errors import ResultNotJson
from agent_service.runtimes.callables import CallableRuntime
from agent_service.runtimes.threads import Threads
from tests.fixtures import agents

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE")


def run(function: Callable[..., Any], parameters: dict[str, Any] | None = None) -> tuple[Any, list[Any], Any]:
    """The result of execute, the chunks and the result of stream."""

    async def scenario() -> tuple[Any, list[Any], Any]:
        runtime = CallableRuntime(function, Threads(2))
        chunks: list[Any] = []

        async def emit(chunk: Any) -> None:
            chunks.append(chunk)

        await runtime.open()
        try:
            executed = await runtime.execute(parameters or {})
            return executed, chunks, await runtime.stream(parameters or {}, emit)
        finally:
            await runtime.close()

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (agents.echo, {"hello": {"name": "Ada"}}),
        (agents.decorated, {"hello": {"name": "Ada"}}),
        (partial(agents.echo), {"hello": {"name": "Ada"}}),
        (agents.plain, {"thread": True, "name": "Ada"}),
        (agents.greeter, "hello Ada"),
    ],
)
def test_a_function_returns_its_result_and_no_chunks(function: Callable[..., Any], result: Any) -> None:
    assert run(function, {"name": "Ada"}) == (result, [], result)


@pytest.mark.parametrize("function", [agents.counter, agents.plain_counter, agents.decorated_counter])
def test_a_generator_yields_chunks_and_returns_the_list_of_them(function: Callable[..., Any]) -> None:
    assert run(function, {"to": 3}) == ([0, 1, 2], [0, 1, 2], [0, 1, 2])


@pytest.mark.parametrize(
    ("function", "streams"),
    [(agents.counter, True), (agents.plain_counter, True), (agents.echo, False), (agents.plain, False)],
)
def test_generators_say_that_they_stream(function: Callable[..., Any], streams: bool) -> None:
    assert CallableRuntime(function, Threads(1)).supports_streaming is streams


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration("x"), SystemExit("x")])
def test_what_a_thread_raises_comes_out(error: BaseException) -> None:
    def fails(parameters: Any) -> None:
        raise error

    expected = RuntimeError if isinstance(error, StopIteration) else type(error)

    async def scenario() -> None:
        runtime = CallableRuntime(fails, Threads(1))
        with pytest.raises(expected):
            await runtime.execute({})
        await runtime.close()

    asyncio.run(scenario())


def test_a_thread_sees_the_context_of_its_task() -> None:
    async def scenario() -> Any:
        VARIABLE.set("seen")
        runtime = CallableRuntime(lambda parameters: VARIABLE.get(), Threads(1))
        try:
            return await runtime.execute({})
        finally:
            await runtime.close()

    assert asyncio.run(scenario()) == "seen"


def test_a_cancelled_thread_is_waited_for() -> None:
    async def scenario() -> None:
        started, release, ended = threading.Event(), threading.Event(), threading.Event()

        def blocks(parameters: Any) -> None:
            started.set()
            release.wait()
            ended.set()

        runtime = CallableRuntime(blocks, Threads(1))
        task = asyncio.create_task(runtime.execute({}))
        await asyncio.to_thread(started.wait)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()
        await runtime.close()

    asyncio.run(scenario())


def test_a_cancelled_generator_in_a_thread_stops_at_its_next_step_and_is_closed() -> None:
    async def scenario() -> None:
        first, release = threading.Event(), threading.Event()
        made: list[str] = []

        def generates(parameters: Any) -> Iterator[int]:
            try:
                for number in range(100):
                    if number == 1:
                        first.set()
                        release.wait()
                    made.append(str(number))
                    yield number
            finally:
                made.append(threading.current_thread().name)

        runtime = CallableRuntime(generates, Threads(1))
        task = asyncio.create_task(runtime.execute({}))
        await asyncio.to_thread(first.wait)
        task.cancel()
        await asyncio.sleep(0)
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert made[:2] == ["0", "1"]
        assert len(made) == 3 and made[2].startswith("agent")
        await runtime.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["async", "plain"])
def test_a_generator_is_closed_when_its_chunk_is_refused(kind: str) -> None:
    async def scenario() -> list[str]:
        closed: list[str] = []

        async def asynchronous(parameters: Any) -> Any:
            try:
                yield 1
            finally:
                closed.append("async")

        def plain(parameters: Any) -> Iterator[int]:
            try:
                yield 1
            finally:
                closed.append("plain")

        async def emit(chunk: Any) -> None:
            raise ResultNotJson("no")

        runtime = CallableRuntime(asynchronous if kind == "async" else plain, Threads(1))
        with pytest.raises(ResultNotJson):
            await runtime.stream({}, emit)
        await runtime.close()
        return closed

    assert asyncio.run(scenario()) == [kind]


def test_a_generator_in_a_thread_waits_for_a_slow_client() -> None:
    async def scenario() -> None:
        made: list[int] = []
        taken = asyncio.Semaphore(0)
        asked = asyncio.Event()

        def generates(parameters: Any) -> Iterator[int]:
            for number in range(3):
                made.append(number)
                yield number

        async def emit(chunk: Any) -> None:
            asked.set()
            await taken.acquire()

        runtime = CallableRuntime(generates, Threads(1))
        task = asyncio.create_task(runtime.stream({}, emit))
        await asked.wait()
        assert made == [0]
        for _ in range(3):
            taken.release()
        assert await task == [0, 1, 2]
        await runtime.close()

    asyncio.run(scenario())
