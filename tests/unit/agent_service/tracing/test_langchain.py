"""What LangChain does within a task, as spans: nodes, model calls and tool calls, each where it belongs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, ToolException, tool
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from agent_service.definition import AgentDefinition
from agent_service.runtimes.callables import CallableRuntime
from agent_service.runtimes.react.runtime import ReactRuntime
from agent_service.runtimes.runnables import GraphRuntime, RunnableRuntime
from agent_service.runtimes.threads import Threads
from agent_service.tracing.propagation import trace_headers
from tests.unit.agent_service.harness import Adapter
from tests.unit.agent_service.runtimes.react.harness import FakeTools, calls, definition
from tests.unit.agent_service.tracing.recording import SECRET, Record, Recording, traceparent

TASK = "invoke_agent A"


@tool
async def search(query: str = "") -> str:
    """Look it up."""
    return f"found {query}, told {trace_headers()['traceparent']}"


@tool
async def broken() -> str:
    """Never works."""
    raise ToolException(f"no {SECRET}")


broken.handle_tool_error = True


def react(made: AgentDefinition, *tools: BaseTool) -> ReactRuntime:
    return ReactRuntime(made, FakeTools(*tools), str, Path("unused"))


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_react_call_is_a_tree_of_nodes_model_calls_and_tool_calls(record: Record) -> None:
    recording = record()
    recording.execute(react(definition(calls("search", query="it"), "done"), search), {"input": "find it"})
    assert recording.tree() == [
        TASK,
        f"{TASK} > node model",
        f"{TASK} > node model > chat script",
        f"{TASK} > node tools",
        f"{TASK} > node tools > execute_tool search",
        f"{TASK} > node model",
        f"{TASK} > node model > chat script",
    ]


def test_a_model_call_tells_its_model_its_tokens_and_no_content(record: Record) -> None:
    recording = record()
    recording.execute(react(definition("three small words", model={"temperature": 0.5})), {"input": "say it"})
    span = recording.named("chat script")
    assert span.kind is SpanKind.CLIENT
    assert attributes(span) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "script",
        "gen_ai.usage.input_tokens": 2,
        "gen_ai.usage.output_tokens": 3,
    }


def test_a_tool_call_tells_its_tool_and_no_content(record: Record) -> None:
    recording = record()
    recording.execute(react(definition(calls("search", query="private"), "done"), search), {"input": "private"})
    span = recording.named("execute_tool search")
    assert attributes(span) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.call.id": "call-0-0",
        "gen_ai.tool.description": "Look it up.",
        "gen_ai.tool.type": "function",
    }
    assert not any("private" in str(attributes(each)) for each in recording.spans())


def test_with_content_prompts_answers_arguments_and_results_are_there_without_secrets(record: Record) -> None:
    recording = record(capture_content=True)
    made = definition(calls("search", query=f"for {SECRET}"), f"it is {SECRET}", system_prompt="Be brief.")
    recording.execute(react(made, search), {"input": f"my {SECRET}"})
    found = attributes(recording.named("execute_tool search"))
    assert json.loads(found["gen_ai.tool.call.arguments"]) == {"query": "for [redacted]"}
    assert found["gen_ai.tool.call.result"].startswith("found for [redacted]")
    first, last = (attributes(span) for span in recording.spans() if span.name == "chat script")
    assert json.loads(first["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "my [redacted]"}]},
    ]
    arguments = {"query": "for [redacted]"}
    call = {"type": "tool_call", "id": "call-0-0", "name": "search", "arguments": arguments}
    assert json.loads(first["gen_ai.output.messages"]) == [{"role": "assistant", "parts": [call]}]
    assert json.loads(last["gen_ai.input.messages"])[-1]["parts"][0]["type"] == "tool_call_response"
    assert SECRET not in str([attributes(span) for span in recording.spans()])


def test_a_tool_tells_on_that_it_is_the_one_that_asks(record: Record) -> None:
    recording = record(capture_content=True)
    recording.execute(react(definition(calls("search"), "done"), search), {"input": "x"})
    span = recording.named("execute_tool search")
    told = attributes(span)["gen_ai.tool.call.result"].rpartition(" ")[2]
    assert told == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"


def test_tools_that_run_at_once_each_tell_of_their_own_span(record: Record) -> None:
    recording = record(capture_content=True)
    recording.execute(react(definition(calls("search", "search", "search"), "done"), search), {"input": "x"})
    tools = [span for span in recording.spans() if span.name == "execute_tool search"]
    told = [attributes(span)["gen_ai.tool.call.result"].split("-")[2] for span in tools]
    assert told == [f"{span.context.span_id:016x}" for span in tools]
    assert len(set(told)) == 3


def test_a_tools_own_error_marks_its_span_and_no_other(record: Record) -> None:
    recording = record()
    recording.execute(react(definition(calls("broken"), "done"), broken), {"input": "x"})
    failed = [span for span in recording.spans() if span.status.status_code is StatusCode.ERROR]
    assert [(span.name, attributes(span)["error.type"]) for span in failed] == [("execute_tool broken", "tool_error")]


def test_each_try_of_a_model_call_is_a_span_and_a_failed_one_tells_its_error(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_service.runtimes.react.retries.FIRST_DELAY_SECONDS", 0.0)
    recording = record()
    line = {"error": {"status": 429}}
    recording.execute(react(definition(line, "done", model={"retries": 1})), {"input": "x"})
    tries = [span for span in recording.spans() if span.name == "chat script"]
    assert [span.status.status_code for span in tries] == [StatusCode.ERROR, StatusCode.UNSET]
    assert attributes(tries[0])["error.type"] == "agent_service.runtimes.react.scripted.ScriptedError"


def test_streamed_calls_are_the_same_tree(record: Record) -> None:
    recording = record()
    runtime = react(definition(calls("search"), "done"), search)

    async def scenario() -> None:
        await runtime.open()
        await Adapter(runtime, tracing=recording.tasks).execute({"input": "x"}, headers={"Accept": "text/event-stream"})

    asyncio.run(scenario())
    assert [path.rpartition(" > ")[2] for path in recording.tree()] == [
        TASK,
        "node model",
        "chat script",
        "node tools",
        "execute_tool search",
        "node model",
        "chat script",
    ]


class State(TypedDict, total=False):
    text: str


def graph(*names: str, inner: Any = None) -> Any:
    """Nodes in a row; `inner` is the last one."""
    made: Any = StateGraph(State)
    chain = [*names, *(["inner"] if inner is not None else [])]
    for name in names:
        made.add_node(name, lambda state: state)
    if inner is not None:
        made.add_node("inner", inner)
    for before, after in zip([START, *chain], [*chain, END], strict=True):
        made.add_edge(before, after)
    return made.compile()


def test_a_graph_of_the_agents_own_is_seen_with_graphs_in_it(record: Record) -> None:
    recording = record()
    recording.execute(GraphRuntime(graph("first", inner=graph("deep"))), {"text": "x"})
    assert recording.tree() == [
        TASK,
        f"{TASK} > node first",
        f"{TASK} > node inner",
        f"{TASK} > node inner > node deep",
    ]
    assert attributes(recording.named("node first")) == {"langgraph.node": "first", "langgraph.step": 1}


def test_a_runnable_and_a_function_that_asks_a_model_are_seen_too(record: Record) -> None:
    def model() -> GenericFakeChatModel:
        return GenericFakeChatModel(messages=iter([AIMessage("hi")]))

    def plain(parameters: Any) -> str:
        return str(model().invoke("hello").text)

    chain = RunnableLambda(lambda parameters: "hello") | model() | RunnableLambda(lambda message: message.text)
    for runtime in (RunnableRuntime(chain), CallableRuntime(plain, Threads(1))):
        recording = record()
        assert recording.execute(runtime).json()["result"] == "hi"
        assert recording.tree() == [TASK, f"{TASK} > chat"]


def test_an_interrupt_is_no_failure(record: Record) -> None:
    def ask(state: State) -> State:
        return {"text": interrupt("who?")}

    made: Any = StateGraph(State)
    made.add_node("ask", ask)
    made.add_edge(START, "ask")
    recording = record()
    recording.execute(GraphRuntime(made.compile()), {"text": "x"})
    assert "node ask" in [span.name for span in recording.spans()]
    assert all(span.status.status_code is StatusCode.UNSET for span in recording.spans())


def test_a_node_that_raises_is_marked_and_so_is_the_task(record: Record) -> None:
    def fail(state: State) -> State:
        raise KeyError("secret")

    made: Any = StateGraph(State)
    made.add_node("fail", fail)
    made.add_edge(START, "fail")
    recording = record()
    assert recording.execute(GraphRuntime(made.compile()), {"text": "x"}).status_code == 500
    assert {span.name: attributes(span)["error.type"] for span in recording.spans()} == {
        "node fail": "KeyError",
        TASK: "KeyError",
    }
    assert "secret" not in "".join(span.to_json() for span in recording.spans())


def test_concurrent_tasks_of_one_agent_do_not_mix(record: Record) -> None:
    recording = record()
    runtime = react(definition(calls("search"), "done"), search)
    traces = [f"{number:032x}" for number in range(1, 9)]

    async def scenario() -> None:
        await runtime.open()
        adapter = Adapter(runtime, tracing=recording.tasks)
        headers = [{"traceparent": f"00-{each}-{'b' * 16}-01"} for each in traces]
        await asyncio.gather(*(adapter.execute({"input": "x"}, headers=each) for each in headers))

    asyncio.run(scenario())
    for each in traces:
        names = [span.name for span in recording.spans() if f"{span.context.trace_id:032x}" == each]
        assert sorted(names) == sorted(
            [TASK, "node model", "chat script", "node tools", "execute_tool search", "node model", "chat script"]
        )


@pytest.mark.parametrize("flags", ["00", "01"])
def test_a_task_that_is_not_recorded_has_no_spans_inside_either(record: Record, flags: str) -> None:
    recording: Recording = record()
    recording.execute(react(definition("done")), {"input": "x"}, **traceparent(flags))
    assert bool(recording.spans()) == (flags == "01")
