from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda

from agent_service.encoding import encode
from agent_service.examples import planner
from agent_service.runtimes.protocol import Runtime
from agent_service.runtimes.runnables import GraphRuntime, RunnableRuntime
from tests.fixtures import graphs

FINAL = {"number": 7, "trail": ["double", "increment"]}
UPDATES = [{"double": {"number": 6, "trail": ["double"]}}, {"increment": FINAL}]


def stream(runtime: Runtime, parameters: dict[str, Any]) -> tuple[list[Any], Any]:
    async def scenario() -> tuple[list[Any], Any]:
        chunks: list[Any] = []

        async def emit(chunk: Any) -> None:
            chunks.append(chunk)

        return chunks, await runtime.stream(parameters, emit)

    return asyncio.run(scenario())


def test_a_graph_streams_its_updates_and_returns_its_final_state() -> None:
    assert stream(GraphRuntime(graphs.graph), {"number": 3}) == (UPDATES, FINAL)


def test_a_graph_is_executed_to_the_state_that_ainvoke_gives() -> None:
    async def scenario() -> tuple[Any, Any]:
        return await GraphRuntime(graphs.graph).execute({"number": 3}), await graphs.graph.ainvoke({"number": 3})

    ours, theirs = asyncio.run(scenario())
    assert ours == theirs == FINAL


def test_what_a_graph_keeps_to_itself_is_not_in_its_result() -> None:
    parameters = {"goal": "Read, then write it"}
    _, result = stream(GraphRuntime(planner.graph), parameters)
    assert result == planner.graph.invoke(parameters)
    assert set(result) == {"goal", "steps"}


def test_a_graph_runs_once_only() -> None:
    runs: list[int] = []

    class Counted:
        checkpointer = None

        async def astream(self, *args: Any, **options: Any) -> AsyncIterator[tuple[str, Any]]:
            runs.append(1)
            yield "updates", {"node": 1}
            yield "values", {"x": 1}

    assert stream(GraphRuntime(Counted()), {}) == ([{"node": 1}], {"x": 1})
    assert runs == [1]


def test_each_task_of_a_graph_with_a_checkpointer_is_a_thread_of_its_own() -> None:
    runtime = GraphRuntime(graphs.remembering)
    assert stream(runtime, {"number": 3})[1] == FINAL
    assert stream(runtime, {"number": 3})[1] == FINAL


def test_an_interrupted_graph_tells_what_it_asks() -> None:
    chunks, state = stream(GraphRuntime(graphs.asking), {"number": 3})
    assert state["number"] == 6
    assert [interrupt.value for interrupt in state["__interrupt__"]] == ["how many?"]
    assert json.loads(encode(state))["__interrupt__"][0]["value"] == "how many?"
    assert len(chunks) == 2


def test_a_runnable_is_invoked() -> None:
    async def scenario() -> Any:
        return await RunnableRuntime(graphs.runnable).execute({"text": "abc"})

    assert asyncio.run(scenario()) == "ABC"


def test_the_streamed_result_of_a_runnable_is_the_sum_of_its_chunks() -> None:
    assert stream(RunnableRuntime(graphs.spelling), {"text": "abc"}) == (["a", "b", "c"], "abc")


@pytest.mark.parametrize(("chunks", "result"), [([{"a": 1}, {"b": 2}], {"b": 2}), ([1], 1), ([], None)])
def test_of_chunks_that_cannot_be_added_the_last_is_the_result(chunks: list[Any], result: Any) -> None:
    class Streams:
        async def astream(self, parameters: Any) -> AsyncIterator[Any]:
            for chunk in chunks:
                yield chunk

    assert stream(RunnableRuntime(Streams()), {}) == (chunks, result)


def test_an_error_of_a_runnable_comes_out() -> None:
    def fails(parameters: Any) -> None:
        raise LookupError("missing")

    with pytest.raises(LookupError, match="missing"):
        stream(RunnableRuntime(RunnableLambda(fails)), {})


def test_messages_become_json() -> None:
    found = json.loads(encode({"messages": [HumanMessage("hi"), AIMessage("ho")]}))
    assert [(message["type"], message["content"]) for message in found["messages"]] == [("human", "hi"), ("ai", "ho")]
