from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from agent_service.contract import TracingState
from agent_service.definition import Tracing
from agent_service.errors import BadRequest
from agent_service.runtimes.callables import CallableRuntime
from agent_service.runtimes.threads import Threads
from agent_service.tracing.propagation import trace_headers
from tests.unit.agent_service.harness import Adapter, FunctionRuntime
from tests.unit.agent_service.tracing.recording import CALLER, SECRET, TRACE, Record, traceparent


def runtime(function: Any) -> FunctionRuntime:
    async def run(parameters: Any, emit: Any) -> Any:
        return function(parameters)

    return FunctionRuntime(run)


def raising(error: BaseException) -> FunctionRuntime:
    def fail(parameters: Any) -> Any:
        raise error

    return runtime(fail)


def test_a_task_is_a_span_under_the_callers(record: Record) -> None:
    recording = record()
    answer = recording.execute(runtime(lambda _: 1), **traceparent())
    span = recording.named("invoke_agent A")
    assert (f"{span.context.trace_id:032x}", span.kind) == (TRACE, SpanKind.SERVER)
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == CALLER
    attributes = dict(span.attributes or {})
    assert attributes.pop("agent_manager.queue_ms") >= 0  # type: ignore[operator]
    assert attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.id": "a",
        "gen_ai.agent.name": "A",
        "agent_manager.task_id": answer.json()["task_id"],
        "agent_manager.request_id": answer.headers["x-request-id"],
    }
    assert span.status.status_code is StatusCode.UNSET


def test_a_trace_that_begins_here_has_the_id_that_is_answered(record: Record) -> None:
    recording = record()
    answer = recording.execute(runtime(lambda _: 1))
    span = recording.named("invoke_agent A")
    assert answer.headers["traceparent"].split("-")[1] == f"{span.context.trace_id:032x}"
    assert span.parent is None


def test_the_agents_code_sees_its_span_in_the_log_in_opentelemetry_and_to_tell_on(record: Record) -> None:
    seen: dict[str, Any] = {}

    def look(parameters: Any) -> None:
        seen["log"] = structlog.contextvars.get_contextvars()["span_id"]
        seen["current"] = f"{trace.get_current_span().get_span_context().span_id:016x}"
        seen["headers"] = trace_headers()

    recording = record()
    recording.execute(CallableRuntime(look, Threads(1)), **traceparent(), tracestate="vendor=1")
    span_id = f"{recording.named('invoke_agent A').context.span_id:016x}"
    headers = {"traceparent": f"00-{TRACE}-{span_id}-01", "tracestate": "vendor=1"}
    assert seen == {"log": span_id, "current": span_id, "headers": headers}


def test_a_trace_that_is_not_recorded_costs_no_span_and_is_told_on_as_such(record: Record) -> None:
    seen: list[Any] = []
    recording = record()
    recording.execute(runtime(lambda _: seen.append(trace_headers())), **traceparent("00"))
    assert seen == [{"traceparent": f"00-{TRACE}-{CALLER}-00"}]
    assert not recording.spans()


def test_without_traces_nothing_is_told_on() -> None:
    seen: list[Any] = []

    async def scenario() -> None:
        await Adapter(runtime(lambda _: seen.append(trace_headers()))).execute(headers=traceparent())

    asyncio.run(scenario())
    assert seen == [{}]


@pytest.mark.parametrize("defined", [Tracing(enabled=False), Tracing(sample_rate=0)])
def test_the_definition_says_what_is_recorded(record: Record, defined: Tracing) -> None:
    recording = record(defined)
    recording.execute(runtime(lambda _: 1))
    assert not recording.spans()


def test_a_failed_task_is_an_error_by_its_type_without_its_message(record: Record) -> None:
    recording = record()
    recording.execute(raising(ValueError("a password")))
    span = recording.named("invoke_agent A")
    assert (span.attributes or {})["error.type"] == "ValueError"
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert not span.events


def test_with_content_the_message_is_told_without_secrets(record: Record) -> None:
    recording = record(capture_content=True)
    recording.execute(raising(LookupError(f"no {SECRET} here")))
    assert recording.named("invoke_agent A").status.description == "no [redacted] here"


def test_a_callers_mistake_is_no_error_of_the_agent(record: Record) -> None:
    recording = record()
    assert recording.execute(raising(BadRequest("No."))).status_code == 400
    span = recording.named("invoke_agent A")
    assert (span.attributes or {})["error.type"] == "agent_service.errors.BadRequest"
    assert span.status.status_code is StatusCode.UNSET


def test_concurrent_tasks_keep_their_traces_apart(record: Record) -> None:
    recording = record()
    traces = [f"{number:032x}" for number in range(1, 21)]

    async def scenario() -> list[Any]:
        together = asyncio.Barrier(len(traces))

        async def run(parameters: Any, emit: Any) -> Any:
            before = trace_headers()
            await together.wait()
            assert trace_headers() == before
            return before["traceparent"]

        adapter = Adapter(FunctionRuntime(run), tracing=recording.tasks)
        calls = (adapter.execute(headers={"traceparent": f"00-{each}-{CALLER}-01"}) for each in traces)
        return [answer.json()["result"] for answer in await asyncio.gather(*calls)]

    told = asyncio.run(scenario())
    assert [each.split("-")[1] for each in told] == traces
    spans = recording.spans()
    assert {f"{span.context.trace_id:032x}": f"{span.context.span_id:016x}" for span in spans} == {
        each.split("-")[1]: each.split("-")[2] for each in told
    }


def test_it_is_set_and_set_back_at_run_time(record: Record) -> None:
    tasks = record(Tracing(sample_rate=0.5), sample_rate=0.5).tasks
    defined = TracingState(exporting=True, enabled=True, sample_rate=0.25, overridden=False)
    assert tasks.state() == defined
    chosen = TracingState(exporting=True, enabled=False, sample_rate=1, overridden=True)
    assert tasks.override(Tracing(enabled=False)) == chosen
    tasks.manager_has_set(None)
    assert tasks.state() == defined
    tasks.manager_has_set(Tracing(enabled=False))
    assert tasks.state() == chosen


def test_the_end_sends_what_is_left(record: Record) -> None:
    recording = record(delay_seconds=3600.0)

    async def scenario() -> None:
        await Adapter(runtime(lambda _: 1), tracing=recording.tasks).execute()
        await recording.tasks.close()

    asyncio.run(scenario())
    assert recording.counts.exported == 1
