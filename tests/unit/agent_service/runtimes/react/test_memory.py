from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_service.errors import EntryPointError, NoSuchThread, StateConflict
from agent_service.runtimes.react.failures import ModelUnavailable
from agent_service.runtimes.react.memory import DATABASE
from agent_service.runtimes.react.runtime import ReactRuntime
from agent_service.runtimes.react.turns import INTERRUPTED
from tests.unit.agent_service.runtimes.react.harness import Json, answered, calls, definition, running, tool

KEPT = {"memory": {"kind": "thread"}}


def on_thread(directory: Path, *script: Any, **parameters: Any) -> Json:
    """One call of an agent that lives for this call only."""
    return answered(definition(*script, **KEPT), directory=directory, **parameters)


def test_a_thread_outlives_the_agents_process(tmp_path: Path) -> None:
    assert on_thread(tmp_path, "one", "two", input="x", thread_id="t")["output"] == "one"
    assert on_thread(tmp_path, "one", "two", input="x", thread_id="t")["output"] == "two"
    assert on_thread(tmp_path, "one", "two", input="x", thread_id="other")["output"] == "one"


def test_the_answer_has_the_messages_of_its_own_turn_only(tmp_path: Path) -> None:
    on_thread(tmp_path, "one", "two", input="x", thread_id="t")
    result = on_thread(tmp_path, "one", "two", input="x", thread_id="t")
    assert result["messages"] == [{"role": "assistant", "content": "two"}]
    assert result["thread_id"] == "t"


def test_without_a_thread_id_a_new_thread_begins(tmp_path: Path) -> None:
    first, second = (on_thread(tmp_path, "one", "two", input="x") for _ in range(2))
    assert first["thread_id"] != second["thread_id"]
    assert second["output"] == "one"


def in_memory(directory: Path, *script: Any, tools: tuple[Any, ...] = ()) -> Any:
    return running(definition(*script, **KEPT), *tools, directory=directory)


def test_a_thread_can_be_read(tmp_path: Path) -> None:
    async def scenario() -> Json:
        async with in_memory(tmp_path, "one") as runtime:
            before = datetime.now(UTC)
            await runtime.execute({"input": "x", "thread_id": "t"})
            thread = await (await runtime.threads()).read("t")
            assert before - timedelta(seconds=1) <= thread.updated_at <= datetime.now(UTC)
            return dict(thread.model_dump(exclude={"updated_at"}))

    assert asyncio.run(scenario()) == {
        "thread_id": "t",
        "unfinished": False,
        "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "one"}],
    }


def test_threads_are_listed_page_by_page_the_newest_first(tmp_path: Path) -> None:
    async def scenario() -> list[list[str]]:
        async with in_memory(tmp_path, "ok") as runtime:
            for name in ("a", "b", "c", "d", "e", "b"):
                await runtime.execute({"input": "x", "thread_id": name})
            pages, cursor = [], None
            while not pages or cursor is not None:
                page = await (await runtime.threads()).page(2, cursor)
                pages.append([thread.thread_id for thread in page.threads])
                cursor = page.next
                times = [thread.updated_at for thread in page.threads]
                assert times == sorted(times, reverse=True)
                assert all(datetime.now(UTC) - time < timedelta(minutes=1) for time in times)
            return pages

    assert asyncio.run(scenario()) == [["b", "e"], ["d", "c"], ["a"]]


def test_a_thread_can_be_deleted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with in_memory(tmp_path, "one", "two") as runtime:
            await runtime.execute({"input": "x", "thread_id": "t"})
            await (await runtime.threads()).delete("t")
            assert (await (await runtime.threads()).page(10, None)).threads == []
            threads = await runtime.threads()
            for act in (threads.read, threads.delete):
                with pytest.raises(NoSuchThread, match="'t'"):
                    await act("t")
            assert (await runtime.execute({"input": "x", "thread_id": "t"}))["output"] == "one"

    asyncio.run(scenario())
    assert rows(tmp_path, "writes WHERE thread_id != 't'") == 0


def rows(directory: Path, table: str) -> int:
    connection = sqlite3.connect(directory / DATABASE)
    try:
        return int(connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])
    finally:
        connection.close()


def test_of_a_finished_turn_only_the_last_step_is_kept(tmp_path: Path) -> None:
    for _ in range(3):
        on_thread(tmp_path, calls("nothing"), "done", input="x", thread_id="t")
    assert rows(tmp_path, "checkpoints") == 1


def test_a_turn_that_failed_can_be_resumed(tmp_path: Path) -> None:
    script = [calls("look"), {"error": {"status": 503}}]
    looked = []

    @tool
    async def look() -> str:
        """Look it up."""
        looked.append(1)
        return "found"

    async def scenario() -> tuple[Json, bool, bool]:
        async with in_memory(tmp_path, *script, tools=(look,)) as runtime:
            with pytest.raises(ModelUnavailable):
                await runtime.execute({"input": "x", "thread_id": "t"})
            left = (await (await runtime.threads()).read("t")).unfinished
        async with in_memory(tmp_path, "never", "at last", tools=(look,)) as runtime:
            result = await runtime.execute({"resume": True, "thread_id": "t"})
            return result, left, (await (await runtime.threads()).read("t")).unfinished

    result, before, after = asyncio.run(scenario())
    assert result["output"] == "at last"
    assert [message["role"] for message in result["messages"]] == ["assistant", "tool", "assistant"]
    assert looked == [1], "what was done before is not done again"
    assert (before, after) == (True, False)


def test_a_finished_turn_cannot_be_resumed(tmp_path: Path) -> None:
    on_thread(tmp_path, "one", input="x", thread_id="t")
    with pytest.raises(StateConflict, match="no unfinished turn"):
        on_thread(tmp_path, "one", thread_id="t", resume=True)


def test_a_thread_that_never_was_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(StateConflict, match="There is no thread 'nope' to resume"):
        on_thread(tmp_path, "one", thread_id="nope", resume=True)


def test_new_input_on_an_unfinished_turn_closes_what_was_left_open(tmp_path: Path) -> None:
    async def scenario() -> Json:
        begun = asyncio.Event()

        @tool
        async def hang() -> str:
            """Never come back."""
            begun.set()
            await asyncio.Event().wait()
            return "never"

        async with in_memory(tmp_path, calls("hang"), "Good.", tools=(hang,)) as runtime:
            task = asyncio.create_task(runtime.execute({"input": "x", "thread_id": "t"}))
            await begun.wait()
            task.cancel()
            await asyncio.wait({task})
            result = await runtime.execute({"input": "Forget it.", "thread_id": "t"})
            thread = await (await runtime.threads()).read("t")
            assert [message["role"] for message in thread.messages] == [
                "user",
                "assistant",
                "tool",
                "user",
                "assistant",
            ]
            assert thread.messages[2]["content"] == INTERRUPTED
            return dict(result)

    result = asyncio.run(scenario())
    assert (result["output"], len(result["messages"])) == ("Good.", 1)


class Gate:
    """A tool that waits to be let through."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.opened = asyncio.Event()
        self.inside = 0
        self.most = 0
        self.tool = tool(self.gate)

    async def gate(self) -> str:
        """Wait."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.begun.set()
        await self.opened.wait()
        self.inside -= 1
        return "through"


async def two_calls(runtime: ReactRuntime, other: ReactRuntime, gate: Gate, second_thread: str) -> list[Json]:
    first = asyncio.create_task(runtime.execute({"input": "x", "thread_id": "t"}))
    await gate.begun.wait()
    second = asyncio.create_task(other.execute({"input": "y", "thread_id": second_thread}))
    if second_thread == "t":
        for _ in range(100):
            await asyncio.sleep(0)
    else:
        while gate.inside < 2:
            await asyncio.sleep(0)
    gate.opened.set()
    return list(await asyncio.gather(first, second))


@pytest.mark.parametrize(("second_thread", "at_once"), [("t", 1), ("u", 2)])
def test_calls_on_one_thread_take_turns(tmp_path: Path, second_thread: str, at_once: int) -> None:
    async def scenario() -> tuple[list[Json], int]:
        gate = Gate()
        async with in_memory(tmp_path, calls("gate"), "one", calls("gate"), "two", tools=(gate.tool,)) as runtime:
            return await two_calls(runtime, runtime, gate, second_thread), gate.most

    results, most = asyncio.run(scenario())
    assert most == at_once
    assert [result["output"] for result in results] == ["one", "two" if second_thread == "t" else "one"]


def test_a_thread_on_which_a_call_is_under_way_cannot_be_deleted(tmp_path: Path) -> None:
    async def scenario() -> None:
        gate = Gate()
        async with in_memory(tmp_path, calls("gate"), "one", tools=(gate.tool,)) as runtime:
            task = asyncio.create_task(runtime.execute({"input": "x", "thread_id": "t"}))
            await gate.begun.wait()
            with pytest.raises(StateConflict, match="under way"):
                await (await runtime.threads()).delete("t")
            gate.opened.set()
            await task
            await (await runtime.threads()).delete("t")

    asyncio.run(scenario())


def test_two_agents_never_see_each_others_threads(tmp_path: Path) -> None:
    on_thread(tmp_path / "a", "one", "two", input="x", thread_id="t")
    assert on_thread(tmp_path / "b", "one", "two", input="x", thread_id="t")["output"] == "one"


def test_an_agent_without_memory_says_so() -> None:
    async def scenario() -> None:
        async with running(definition("x")) as runtime:
            await runtime.threads()

    with pytest.raises(StateConflict, match=r"memory\.kind"):
        asyncio.run(scenario())


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EntryPointError, match="AGENT_STATE_DIRECTORY"):
        on_thread(tmp_path / "file" / "below", "one", input="x")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_text("no database at all, but long enough to be looked at " * 20)
    with pytest.raises(EntryPointError, match="cannot be kept"):
        on_thread(tmp_path, "one", input="x")
