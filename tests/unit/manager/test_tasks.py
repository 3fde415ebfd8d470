from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from manager.tasks import TaskOwner
from tests.unit.manager.fakes.clock import run


def test_the_death_of_a_task_is_logged_with_its_name_and_its_reason() -> None:
    async def dies() -> None:
        raise OSError("no more room")

    async def scenario() -> None:
        TaskOwner().start("write history", dies())
        await asyncio.sleep(1)

    entry = logged(scenario)
    assert entry["log_level"] == "critical"
    assert entry["task"] == "write history"
    assert str(entry["exc_info"]) == "no more room"


def test_a_task_that_returns_is_noticed_too() -> None:
    async def returns() -> None:
        return

    async def scenario() -> None:
        TaskOwner().start("watch", returns())
        await asyncio.sleep(1)

    assert logged(scenario)["task"] == "watch"


def test_close_cancels_every_task_waits_for_its_end_and_says_nothing() -> None:
    ended: list[str] = []

    async def long_lived(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(3)
            ended.append(name)

    async def scenario() -> None:
        owner = TaskOwner()
        owner.start("one", long_lived("one"))
        owner.start("two", long_lived("two"))
        await asyncio.sleep(1)
        await owner.close()
        assert sorted(ended) == ["one", "two"]

    with capture_logs() as logs:
        run(scenario())
    assert logs == []


def test_one_task_s_failure_while_closing_does_not_keep_the_others() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("while closing")

    async def scenario() -> None:
        owner = TaskOwner()
        owner.start("stubborn", stubborn())
        owner.start("other", asyncio.sleep(3600))
        await asyncio.sleep(0)
        await asyncio.wait_for(owner.close(), 1)

    assert logged(scenario)["task"] == "stubborn"


def test_tasks_carry_their_names() -> None:
    async def scenario() -> None:
        owner = TaskOwner()
        owner.start("clean registry", asyncio.sleep(3600))
        assert "clean registry" in {task.get_name() for task in asyncio.all_tasks()}
        await owner.close()

    run(scenario())


def test_closing_without_tasks_returns() -> None:
    run(TaskOwner().close())


def logged(scenario: Any) -> dict[str, Any]:
    with capture_logs() as logs:
        run(scenario())
    if len(logs) != 1:
        pytest.fail(f"one log line expected, got {logs}")
    return dict(logs[0])
