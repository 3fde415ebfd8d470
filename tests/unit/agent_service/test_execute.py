from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from agent_service import event_stream
from agent_service.contract import AdapterAction, ExecuteAnswer, Problem
from agent_service.errors import TaskCancelled
from agent_service.runtimes.protocol import Emit, Parameters
from tests.unit.agent_service.harness import Adapter, Exchange, FunctionRuntime, events

STREAM = {"Accept": "text/event-stream"}


def run(adapter_options: dict[str, Any], content: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    async def scenario() -> httpx.Response:
        async with Adapter(**adapter_options).client() as client:
            return await client.post("/execute", content=content, headers=headers)

    return asyncio.run(scenario())


def test_a_task_is_answered_with_its_id_its_result_and_its_duration() -> None:
    response = run({}, b'{"parameters": {"x": [1, null]}}')
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answer = ExecuteAnswer.model_validate_json(response.content)
    assert answer.result == {"echo": {"x": [1, None]}}
    assert answer.task_id and answer.duration_ms >= 0


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body is empty"),
        (b"  \n", "The body is empty"),
        (b"{", "is not valid JSON (EOF"),
        (b'{"parameters": {}} x', "is not valid JSON (trailing"),
        (b'{"parameters": {"x": NaN}}', "is not valid JSON"),
        (b'{"parameters": {"x": -Infinity}}', "is not valid JSON"),
        (b'{"parameters": {"x": "\xff"}}', "is not valid JSON"),
        (b"[" * 5000, "recursion limit"),
        (b"[]", "The body is an array, not an object"),
        (b'"x"', "The body is a string, not an object"),
        (b"null", "The body is null, not an object"),
        (b"true", "The body is a boolean, not an object"),
        (b"1.5", "The body is a number, not an object"),
        (b"{}", 'The body has no "parameters"'),
        (b'{"Parameters": {}}', 'The body has no "parameters"'),
        (b'{"parameters": []}', '"parameters" is an array, not an object'),
        (b'{"parameters": null}', '"parameters" is null, not an object'),
        (b'{"parameters": "{}"}', '"parameters" is a string, not an object'),
    ],
)
def test_a_bad_body_gets_a_sentence_of_its_own(body: bytes, sentence: str) -> None:
    response = run({}, body)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(response.content)
    assert (problem.title, problem.status, problem.agent_id, problem.state) == ("Bad Request", 400, "a", "running")
    assert sentence in problem.detail
    assert '{"parameters": {}}' in problem.detail


def test_unknown_keys_beside_the_parameters_are_ignored() -> None:
    assert run({}, b'{"parameters": {}, "later": 1}').status_code == 200


def test_a_body_declared_too_large_is_refused_before_it_is_read() -> None:
    async def scenario() -> None:
        exchange = Exchange(Adapter(max_body_bytes=10), [b"x", b"y"], headers={"content-length": "11"})
        await exchange.task
        assert exchange.status == 413
        assert "limit of 10 bytes (maxBodyBytes)" in json.loads(exchange.body)["detail"]
        assert (b"connection", b"close") in exchange.sent[0]["headers"]

    asyncio.run(scenario())


def test_a_body_without_a_length_is_counted_and_the_rest_of_it_read_before_the_end_of_the_answer() -> None:
    async def scenario() -> None:
        exchange = Exchange(Adapter(max_body_bytes=10), [b"x" * 6, b"y" * 6, b"z" * 6, b"."])
        await exchange.task
        assert exchange.status == 413
        assert exchange._parts == []
        assert [message.get("more_body") for message in exchange.sent[1:]] == [True, None]

    asyncio.run(scenario())


def test_a_body_at_the_limit_is_taken() -> None:
    body = b'{"parameters": {}}'
    assert run({"max_body_bytes": len(body)}, body).status_code == 200


def test_a_paused_agent_answers_409_and_says_what_to_do() -> None:
    async def scenario() -> None:
        adapter = Adapter()
        adapter.lifecycle.act(AdapterAction.PAUSE)
        response = await adapter.execute()
        assert response.status_code == 409
        assert response.json()["state"] == "paused"
        assert "resume it" in response.json()["detail"]
        adapter.lifecycle.act(AdapterAction.RESUME)
        assert (await adapter.execute()).status_code == 200

    asyncio.run(scenario())


def test_before_readiness_the_answer_is_503_with_retry_after() -> None:
    response = run({"ready": False}, b'{"parameters": {}}')
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


def test_over_the_limits_the_answer_is_429_with_retry_after() -> None:
    async def scenario() -> None:
        adapter = Adapter(max_concurrency=1, max_queue=0)
        first = Exchange.executing(adapter, {"sleep_ms": 3_600_000})
        await adapter.until(lambda: adapter.tasks.report().in_flight == 1)
        response = await adapter.execute()
        assert (response.status_code, response.headers["retry-after"]) == (429, "1")
        assert "maxConcurrency" in response.json()["detail"]
        first.gone.set()
        await first.task

    asyncio.run(scenario())


def test_a_failure_shows_type_and_message_and_never_a_traceback() -> None:
    response = run({}, b'{"parameters": {"fail": "no luck"}}')
    assert response.status_code == 500
    assert "RuntimeError: no luck" in response.json()["detail"]
    assert "Traceback" not in response.text and "dummy.py" not in response.text
    assert response.headers["x-task-id"] == response.json()["task_id"]


def test_a_refusal_before_the_task_began_names_no_task() -> None:
    response = run({"max_body_bytes": 10}, b'{"parameters": {"fail": "no luck"}}')
    assert (response.status_code, response.headers.get("x-task-id")) == (413, None)
    assert "task_id" not in response.json()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_cancels_its_task(stream: bool) -> None:
    async def scenario() -> None:
        adapter = Adapter()
        exchange = Exchange.executing(adapter, {"sleep_ms": 3_600_000}, stream=stream)
        await adapter.until(lambda: adapter.tasks.report().in_flight == 1)
        exchange.gone.set()
        await exchange.task
        await adapter.until(lambda: not adapter.tasks.busy)
        cancelled = adapter.tasks.metrics.registry.get_sample_value("agent_tasks_total", {"outcome": "cancelled"})
        assert cancelled == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_gives_its_place_in_the_queue_back(stream: bool) -> None:
    async def scenario() -> None:
        adapter = Adapter(max_concurrency=1)
        running = Exchange.executing(adapter, {"sleep_ms": 3_600_000})
        await adapter.until(lambda: adapter.tasks.report().in_flight == 1)
        waiting = Exchange.executing(adapter, {}, stream=stream)
        await adapter.until(lambda: adapter.tasks.queued == 1)
        waiting.gone.set()
        await waiting.task
        assert adapter.tasks.queued == 0
        running.gone.set()
        await running.task

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", [False, True])
def test_a_task_survives_its_client_when_the_spec_says_so(stream: bool) -> None:
    async def scenario() -> None:
        opened = asyncio.Event()

        async def work(parameters: Parameters, emit: Emit | None) -> str:
            await opened.wait()
            for number in range(100):
                if emit is not None:
                    await emit(number)
            return "done"

        adapter = Adapter(FunctionRuntime(work), cancel_on_disconnect=False)
        exchange = Exchange.executing(adapter, {}, stream=stream)
        await adapter.until(lambda: adapter.tasks.report().in_flight == 1)
        exchange.gone.set()
        if stream:
            await exchange.task
        opened.set()
        await exchange.task
        await adapter.until(lambda: not adapter.tasks.busy)
        succeeded = adapter.tasks.metrics.registry.get_sample_value("agent_tasks_total", {"outcome": "succeeded"})
        assert succeeded == 1

    asyncio.run(scenario())


def test_a_stream_is_chunks_and_then_one_result() -> None:
    response = run({}, b'{"parameters": {"stream": 3}}', STREAM)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    found = events(response.text)
    assert found[:3] == [("chunk", {"chunk": 0}), ("chunk", {"chunk": 1}), ("chunk", {"chunk": 2})]
    assert [name for name, _ in found[3:]] == ["result"]
    assert ExecuteAnswer.model_validate(found[3][1]).result == {"echo": {"stream": 3}}


def test_a_stream_that_fails_ends_with_one_problem() -> None:
    response = run({}, b'{"parameters": {"stream": 1, "fail": "no luck"}}', STREAM)
    assert response.status_code == 200
    (chunk, error) = events(response.text)
    assert chunk[0] == "chunk"
    assert error[0] == "error"
    assert Problem.model_validate(error[1]).status == 500 and error[1]["task_id"]
    assert "RuntimeError: no luck" in error[1]["detail"]


@pytest.mark.parametrize(
    ("options", "body", "status"),
    [({}, b"[]", 400), ({"ready": False}, b'{"parameters": {}}', 503), ({"max_body_bytes": 1}, b"{}", 413)],
)
def test_what_is_wrong_before_the_task_starts_is_no_stream(options: dict[str, Any], body: bytes, status: int) -> None:
    response = run(options, body, STREAM)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


def test_a_stream_cancelled_in_the_queue_is_a_plain_problem() -> None:
    async def scenario() -> None:
        adapter = Adapter(max_concurrency=1)
        running = Exchange.executing(adapter, {"sleep_ms": 3_600_000})
        await adapter.until(lambda: adapter.tasks.report().in_flight == 1)
        waiting = Exchange.executing(adapter, {}, stream=True)
        await adapter.until(lambda: adapter.tasks.queued == 1)
        adapter.tasks.cancel_all(TaskCancelled("over"))
        await asyncio.gather(running.task, waiting.task)
        assert (running.status, waiting.status) == (503, 503)
        assert json.loads(waiting.body)["detail"] == "over"

    asyncio.run(scenario())


def test_an_agent_is_never_far_ahead_of_its_client() -> None:
    async def scenario() -> None:
        made = 0

        async def work(parameters: Parameters, emit: Emit | None) -> None:
            nonlocal made
            assert emit is not None
            for number in range(1000):
                await emit(number)
                made += 1

        adapter = Adapter(FunctionRuntime(work))
        blocked = asyncio.Event()
        exchange = Exchange.executing(adapter, {}, stream=True)
        send = exchange._send

        async def slow(message: Any) -> None:
            await send(message)
            if message["type"] == "http.response.body":
                await blocked.wait()

        exchange._send = slow  # type: ignore[method-assign]
        await adapter.until(lambda: len(exchange.sent) > 1)
        for _ in range(200):
            await asyncio.sleep(0)
        assert made <= event_stream.READ_AHEAD + 1
        blocked.set()
        exchange.gone.set()
        await exchange.task

    asyncio.run(scenario())


def test_a_silent_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_SECONDS", 0.001)

    async def scenario() -> None:
        opened = asyncio.Event()

        async def work(parameters: Parameters, emit: Emit | None) -> bool:
            return await opened.wait()

        adapter = Adapter(FunctionRuntime(work))
        exchange = Exchange.executing(adapter, {}, stream=True)
        await adapter.until(lambda: exchange.body.count(b": keep-alive\n\n") >= 2)
        opened.set()
        await exchange.task
        assert [name for name, _ in events(exchange.body.decode())] == ["result"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("accept", "streamed"),
    [
        ("text/event-stream", True),
        ("application/json, Text/Event-Stream;q=0.9", True),
        ("*/*", False),
        ("application/json", False),
        ("text/event-streams", False),
    ],
)
def test_the_accept_header_decides_on_streaming(accept: str, streamed: bool) -> None:
    response = run({}, b'{"parameters": {}}', {"Accept": accept})
    assert response.headers["content-type"].startswith("text/event-stream") is streamed


def test_until_its_port_is_handed_over_a_restarting_agent_serves_there_and_sends_its_clients_away() -> None:
    async def scenario() -> None:
        adapter = Adapter(public_port=8101)

        async def ask(port: int) -> httpx.Response:
            async with adapter.client(f"127.0.0.1:{port}") as client:
                return await client.post("/execute", json={"parameters": {"a": 1}})

        assert "connection" not in (await ask(8101)).headers
        adapter.lifecycle.act(AdapterAction.RESTART)
        public, own = await ask(8101), await ask(8100)
        assert (public.status_code, public.headers["connection"]) == (200, "close")
        assert (own.status_code, own.headers.get("connection")) == (409, None)
        adapter.lifecycle.handing_over = False
        assert (await ask(8101)).status_code == 409

    asyncio.run(scenario())
