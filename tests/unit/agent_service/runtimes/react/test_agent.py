from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent_service.errors import BadRequest
from agent_service.runtimes.react.agent import MAX_MODEL_CALLS, Agent
from agent_service.runtimes.react.failures import ModelFailed
from agent_service.runtimes.react.usage import UsageTotals
from agent_service.runtimes.tools.errors import ToolServerUnavailable
from tests.unit.agent_service.runtimes.react.harness import (
    FakeTools,
    answered,
    calls,
    definition,
    running,
    streamed,
    tokens,
    tool,
)


@tool
async def add(one: int, other: int) -> str:
    """Add two numbers."""
    return str(one + other)


def test_an_answer_has_output_messages_tool_calls_and_usage() -> None:
    assert answered(definition("All is well."), input="How is it?") == {
        "output": "All is well.",
        "messages": [{"role": "assistant", "content": "All is well."}],
        "tool_calls": [],
        "usage": {"input_tokens": 3, "output_tokens": 3, "total_tokens": 6, "model_calls": 1, "cost_usd": None},
    }


def test_the_system_prompt_goes_before_the_input() -> None:
    result = answered(definition("ok", system_prompt="one two three four"), input="five")
    assert result["usage"]["input_tokens"] == 5


def test_a_tool_is_called_and_its_result_goes_back_to_the_model() -> None:
    result = answered(definition(calls("add", one=1, other=2), "It is 3."), add, input="1 + 2?")
    call = {"id": "call-0-0", "name": "add", "args": {"one": 1, "other": 2}}
    assert result["output"] == "It is 3."
    assert result["tool_calls"] == [{**call, "status": "success", "result": "3"}]
    assert result["messages"] == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "3", "tool_call_id": "call-0-0", "name": "add", "status": "success"},
        {"role": "assistant", "content": "It is 3."},
    ]
    assert result["usage"]["model_calls"] == 2


def test_an_answer_can_be_sent_back_as_input() -> None:
    made = definition(calls("add", one=1, other=2), "It is 3.", "And 3 again.")
    first = answered(made, add, input="1 + 2?")
    history = [{"role": "user", "content": "1 + 2?"}, *first["messages"], {"role": "user", "content": "Sure?"}]
    assert answered(made, add, input=history)["output"] == "And 3 again."


def test_tool_calls_of_one_message_run_at_the_same_time() -> None:
    async def scenario() -> dict[str, Any]:
        both = asyncio.Barrier(2)

        @tool
        async def meet() -> str:
            """Wait for the other one."""
            await both.wait()
            return "met"

        async with asyncio.timeout(10), running(definition(calls("meet", "meet"), "done"), meet) as runtime:
            return dict(await runtime.execute({"input": "go"}))

    assert [call["result"] for call in asyncio.run(scenario())["tool_calls"]] == ["met", "met"]


def test_a_tool_that_is_not_there_is_an_error_that_the_model_sees() -> None:
    result = answered(definition(calls("nothing"), "I cannot."), input="go")
    assert (result["output"], result["tool_calls"][0]["status"]) == ("I cannot.", "error")


def test_wrong_arguments_are_an_error_that_the_model_sees() -> None:
    result = answered(definition(calls("add", one="x"), "Sorry."), add, input="go")
    assert (result["output"], result["tool_calls"][0]["status"]) == ("Sorry.", "error")


def test_what_a_tool_raises_fails_the_call() -> None:
    @tool
    async def broken() -> str:
        """Break."""
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        answered(definition(calls("broken"), "never"), broken, input="go")


def test_a_model_that_never_stops_calling_tools_is_stopped() -> None:
    with pytest.raises(ModelFailed, match=f"{MAX_MODEL_CALLS} times"):
        answered(definition(calls("add", one=1, other=2)), add, input="go")


def test_a_server_that_the_agent_cannot_do_without_refuses_the_call() -> None:
    async def scenario() -> None:
        fake = FakeTools()
        fake.closed = "search"
        async with running(definition("never"), fake=fake) as runtime:
            await runtime.execute({"input": "go"})

    with pytest.raises(ToolServerUnavailable, match="'search'"):
        asyncio.run(scenario())


def test_tools_that_come_later_are_seen_by_the_next_call() -> None:
    async def scenario() -> list[str]:
        fake = FakeTools()
        async with running(definition(calls("add", one=1, other=2), "done"), fake=fake) as runtime:
            before = await runtime.execute({"input": "go"})
            fake.offered.append(add)
            after = await runtime.execute({"input": "go"})
            return [each["tool_calls"][0]["status"] for each in (before, after)]

    assert asyncio.run(scenario()) == ["error", "success"]


def test_a_stream_has_tokens_tool_calls_and_tool_results_in_order() -> None:
    line = {"content": "Let me see.", **calls("add", one=1, other=2)}
    chunks, result = streamed(definition(line, "It is 3."), add, input="1 + 2?")
    assert [chunk["type"] for chunk in chunks] == [*["token"] * 3, "tool_call", "tool_result", *["token"] * 3]
    assert tokens(chunks) == "Let me see.It is 3."
    assert len({chunk["message_id"] for chunk in chunks if chunk["type"] == "token"}) == 2
    assert chunks[3] == {"type": "tool_call", "id": "call-0-0", "name": "add", "args": {"one": 1, "other": 2}}
    assert chunks[4] == {"type": "tool_result", "id": "call-0-0", "name": "add", "status": "success", "content": "3"}
    assert result["output"] == "It is 3."


def test_streamed_or_not_the_result_is_the_same() -> None:
    made = definition(calls("add", one=1, other=2), "It is 3.")
    assert streamed(made, add, input="1 + 2?")[1] == answered(made, add, input="1 + 2?")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_call_cancelled_in_the_middle_of_the_model_ends_there(is_streamed: bool) -> None:
    async def scenario() -> str:
        said: list[Any] = []
        begun = asyncio.Event()

        async def emit(chunk: Any) -> None:
            said.append(chunk)
            begun.set()

        line = {"content": "one two three", "token_delay_ms": 3_600_000}
        async with running(definition(line)) as runtime:
            work = runtime.stream({"input": "go"}, emit) if is_streamed else runtime.execute({"input": "go"})
            task = asyncio.create_task(work)
            if is_streamed:
                await begun.wait()
            else:
                await until(lambda: len(asyncio.all_tasks()) > 2)
            await cancelled(task)
            return tokens(said)

    assert asyncio.run(scenario()) == ("one" if is_streamed else "")


def test_a_call_cancelled_in_the_middle_of_a_tool_ends_the_tool_and_asks_the_model_nothing() -> None:
    async def scenario() -> list[str]:
        begun = asyncio.Event()
        seen = []

        @tool
        async def slow() -> str:
            """Never come back."""
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                # What a tool does to clean up is waited for.
                await asyncio.sleep(0)
                seen.append("cleaned up")
                raise
            return "never"

        async with running(definition(calls("slow"), "never"), slow) as runtime:
            task = asyncio.create_task(runtime.execute({"input": "go"}))
            await begun.wait()
            await cancelled(task)
            page = [sample for family in runtime.collectors[0].collect() for sample in family.samples]
            seen.append(str(sum(sample.value for sample in page if sample.name == "agent_model_calls_total")))
            return seen

    assert asyncio.run(scenario()) == ["cancelled", "cleaned up", "1"]


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel the call; afterwards nothing of it goes on."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [
        ({}, 'give "input"'),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": "x", "colour": "red"}, "colour"),
        ({"input": [{"role": "system", "content": "x"}]}, "role"),
        ({"input": [{"role": "assistant", "content": "x"}]}, "the last message"),
        ({"input": [{"role": "tool", "content": "x"}]}, "tool_call_id"),
        ({"input": [{"role": "user", "content": "x", "tool_calls": [{"id": "1", "name": "n"}]}]}, "tool_calls"),
        ({"input": "x", "resume": True, "thread_id": "t"}, 'give "input"'),
        ({"resume": True}, "thread_id"),
        ({"input": "x", "thread_id": "../../etc"}, "thread_id"),
        ({"input": "x", "thread_id": "t"}, "keeps no threads"),
    ],
)
def test_wrong_parameters_are_refused_by_name(parameters: dict[str, Any], wrong: str) -> None:
    with pytest.raises(BadRequest, match=wrong):
        answered(definition("never"), **parameters)


def test_the_graph_is_built_anew_only_for_other_tools() -> None:
    async def scenario() -> list[Any]:
        agent = Agent(definition("x"), str, UsageTotals())
        return [await agent.graph(tools, None) for tools in ([add], [add], [], [add])]

    first, second, third, fourth = asyncio.run(scenario())
    assert first is second
    assert len({id(first), id(third), id(fourth)}) == 3
