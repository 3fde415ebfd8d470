from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from manager.forwarding.alarms import Alarms
from manager.forwarding.time_limit import TimeLimit
from tests.unit.manager.fakes.clock import run


async def limited(seconds: float, work: Coroutine[Any, Any, str]) -> str:
    limit = TimeLimit(seconds, Alarms())
    limit.start()
    try:
        result = await work
    except BaseException as error:
        if limit.stop(error):
            return "over"
        raise
    limit.stop(None)
    return result


async def sleeping(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


def test_what_is_in_time_is_left_alone() -> None:
    async def scenario() -> None:
        assert await limited(2, sleeping(1)) == "done"
        await asyncio.sleep(10)

    run(scenario())


def test_what_takes_too_long_is_cancelled_and_its_task_goes_on() -> None:
    async def scenario() -> None:
        assert await limited(1, sleeping(2)) == "over"
        await asyncio.sleep(10)

    run(scenario())


def test_a_cancellation_by_another_is_not_taken_for_the_limit() -> None:
    async def scenario() -> None:
        task = asyncio.create_task(limited(5, sleeping(10)))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario())


def test_a_cancellation_by_another_in_the_same_moment_goes_on() -> None:
    async def scenario() -> None:
        task = asyncio.create_task(limited(5, sleeping(10)))
        asyncio.get_running_loop().call_later(5, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scenario())


def test_an_error_is_what_it_was() -> None:
    async def broken() -> str:
        raise LookupError("its own")

    async def scenario() -> None:
        with pytest.raises(LookupError):
            await limited(1, broken())

    run(scenario())
