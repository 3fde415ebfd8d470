"""Agents that are functions: async or plain, returning a value or generating chunks."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from typing import Any

from agent_service.runtimes.protocol import Emit, Parameters, ignore_chunk
from agent_service.runtimes.threads import Threads

Function = Callable[[Parameters], Any]


class CallableRuntime:
    """Calls `function(parameters)`: on the event loop when it is async or an async generator, else in a thread.

    What it generates, asynchronously or not, becomes chunks, and the list of them the result.
    """

    def __init__(self, function: Function, threads: Threads) -> None:
        self._function = function
        self._threads = threads
        self._async = _any_form(inspect.iscoroutinefunction, function)
        self._async_generator = _any_form(inspect.isasyncgenfunction, function)
        self._generator = _any_form(inspect.isgeneratorfunction, function)

    @property
    def supports_streaming(self) -> bool:
        """It is a generator."""
        return self._async_generator or self._generator

    async def open(self) -> None:
        """Nothing to open."""

    async def execute(self, parameters: Parameters) -> Any:
        """The returned value, or the list of what was generated."""
        return await self.stream(parameters, ignore_chunk)

    async def stream(self, parameters: Parameters, emit: Emit) -> Any:
        """The same; what is generated goes to `emit` one by one."""
        if self._async or self._async_generator or self._generator:
            value = self._function(parameters)
        else:
            value = await self._threads.run(self._function, parameters)
        if inspect.isawaitable(value):
            value = await value
        if inspect.isasyncgen(value):
            return await _from_async(value, emit)
        if inspect.isgenerator(value):
            return await self._from_thread(value, emit)
        return value

    async def close(self) -> None:
        """Let idle threads end."""
        self._threads.close()

    async def _from_thread(self, items: Generator[Any, Any, Any], emit: Emit) -> list[Any]:
        loop = asyncio.get_running_loop()
        cancelled = threading.Event()
        seen: list[Any] = []

        def pump() -> None:
            # One thread for the whole of it: what the generator holds may be bound to its thread.
            with closing(items):
                for item in items:
                    if cancelled.is_set():
                        return
                    seen.append(item)
                    if emit is not ignore_chunk:
                        asyncio.run_coroutine_threadsafe(_deliver(item, emit), loop).result()

        await self._threads.run(pump, on_cancel=cancelled.set)
        return seen


async def _from_async(items: AsyncGenerator[Any, Any], emit: Emit) -> list[Any]:
    seen = []
    async with aclosing(items):
        async for item in items:
            seen.append(item)
            await emit(item)
    return seen


async def _deliver(item: Any, emit: Emit) -> None:
    await emit(item)


def _any_form(test: Callable[[Any], bool], function: Any) -> bool:
    """`function` passes the test itself, or as an object by its `__call__`."""
    return test(function) or test(getattr(function, "__call__", None))  # noqa: B004 - not asked whether, but how
