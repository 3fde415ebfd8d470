from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from agent_service.answers import AnswerLimits, Answers, NamedCalls, named_call
from agent_service.contract import AdapterAction
from agent_service.problems import Problems
from agent_service.runtimes.protocol import Emit, Parameters
from tests.unit.agent_service.harness import Adapter, Clock, Exchange, FunctionRuntime

NAME = "ab" * 32
OTHER = "cd" * 32
BODY = b'{"parameters": {}}'


class Work:
    """An agent that goes on when it is told to, and counts what it has begun and what was cancelled."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.begun = 0
        self.cancelled = 0

    async def __call__(self, _: Parameters, emit: Emit | None) -> Any:
        self.begun += 1
        if emit is not None:
            await emit("chunk")
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return {"run": self.begun}


class Called:
    def __init__(self, **spec: Any) -> None:
        self.work = Work()
        self.adapter = Adapter(FunctionRuntime(self.work), **spec)

    def call(self, name: str = NAME, *, seconds: float = 600, stream: bool = False, **headers: str) -> Exchange:
        accept = {"accept": "text/event-stream"} if stream else {}
        named = {"x-manager-call": f"{name};timeout={seconds:.3f}"}
        return Exchange(self.adapter, BODY, headers={**named, **accept, **headers})

    async def recall(self, name: str = NAME, **headers: str) -> httpx.Response:
        async with self.adapter.client() as client:
            return await client.get(f"/answers/{name}", headers=headers)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_with_a_name_goes_on_without_its_client_and_is_answered_by_its_name(stream: bool) -> None:
    async def scenario() -> None:
        called = Called()
        exchange = called.call(stream=stream)
        await called.adapter.until(lambda: called.work.begun == 1)
        exchange.gone.set()
        waiting = asyncio.create_task(called.recall())
        for _ in range(50):
            await asyncio.sleep(0)
        assert not waiting.done() and not called.work.cancelled
        called.work.may_end.set()
        answer = await waiting
        await exchange.task
        assert answer.status_code == 200 and answer.headers["x-manager-call"] == NAME
        assert answer.content == exchange.body and b'"run":1' in answer.content
        assert (await called.recall()).content == answer.content
        assert called.work.begun == 1

    run(scenario())


def test_a_call_that_is_made_again_by_its_name_is_run_once() -> None:
    async def scenario() -> None:
        called = Called()
        first, second = called.call(), called.call()
        await called.adapter.until(lambda: called.work.begun == 1)
        called.work.may_end.set()
        await asyncio.gather(first.task, second.task)
        third = called.call()
        await third.task
        assert first.body == second.body == third.body
        assert called.work.begun == 1

    run(scenario())


def test_a_call_whose_time_is_over_is_cancelled() -> None:
    async def scenario() -> None:
        called = Called()
        exchange = called.call(seconds=0)
        await exchange.task
        assert exchange.status == 503
        await called.adapter.until(lambda: called.work.cancelled == called.work.begun)

    run(scenario())


def test_a_call_without_a_name_is_cancelled_with_its_client() -> None:
    async def scenario() -> None:
        called = Called()
        exchange = Exchange(called.adapter, BODY)
        await called.adapter.until(lambda: called.work.begun == 1)
        exchange.gone.set()
        await called.adapter.until(lambda: called.work.cancelled == 1)

    run(scenario())


def test_a_call_that_was_refused_before_it_began_may_be_made_again() -> None:
    async def scenario() -> None:
        called = Called()
        called.work.may_end.set()
        called.adapter.lifecycle.act(AdapterAction.PAUSE, None)
        refused = called.call()
        await refused.task
        assert refused.status == 409
        assert (await called.recall()).headers["x-manager-call"] == "not-begun"
        called.adapter.lifecycle.act(AdapterAction.RESUME, None)
        again = called.call()
        await again.task
        assert again.status == 200

    run(scenario())


def test_the_failure_of_a_call_is_its_answer_too() -> None:
    async def fails(*_: object) -> None:
        raise ValueError("broken")

    async def scenario() -> None:
        called = Called()
        called.adapter = Adapter(FunctionRuntime(fails))
        exchange = called.call()
        await exchange.task
        answer = await called.recall()
        assert answer.status_code == exchange.status == 500
        assert "ValueError: broken" in answer.json()["detail"]
        assert json.loads(exchange.body) == answer.json()

    run(scenario())


def test_of_a_call_that_nobody_made_it_is_certain_that_it_was_not_begun() -> None:
    async def scenario() -> None:
        answer = await Called().recall()
        assert (answer.status_code, answer.headers["x-manager-call"]) == (404, "not-begun")
        assert answer.headers["content-type"] == "application/problem+json"

    run(scenario())


def test_answers_are_for_those_who_know_the_token() -> None:
    async def scenario() -> None:
        called = Called(tokens=("secret",))
        assert (await called.recall()).status_code == 401
        assert (await called.recall(**{"x-manager-token": "secret"})).status_code == 404

    run(scenario())


def test_an_answer_too_large_to_keep_is_gone_and_not_run_again() -> None:
    async def large(*_: object) -> str:
        begun.append(1)
        return "x" * (AnswerLimits().answer_bytes + 1)

    async def scenario() -> None:
        called = Called()
        called.adapter = Adapter(FunctionRuntime(large))
        exchange = called.call()
        await exchange.task
        assert exchange.status == 200 and len(exchange.body) > AnswerLimits().answer_bytes
        assert (await called.recall()).status_code == 410
        again = called.call()
        await again.task
        assert (again.status, len(begun)) == (410, 1)

    begun: list[int] = []
    run(scenario())


@pytest.mark.parametrize(
    "value",
    ["", NAME, f"{NAME[:-1]};timeout=1", f"{NAME};timeout=-1", f"{NAME};timeout=inf", f"{NAME.upper()};timeout=1"],
)
def test_what_is_no_name_is_no_name(value: str) -> None:
    assert named_call({"headers": [(b"x-manager-call", value.encode())]}) is None


def test_two_names_are_none() -> None:
    header = (b"x-manager-call", f"{NAME};timeout=1".encode())
    assert named_call({"headers": [header]}) == (NAME, 1.0)
    assert named_call({"headers": [header, header]}) is None


class Kept:
    """Answers of a given size, ended one after the other."""

    def __init__(self, **limits: Any) -> None:
        self.clock = Clock()
        self.answers = Answers(AnswerLimits(**limits), self.clock.monotonic)

    def end(self, name: str, size: int = 10, status: int = 200) -> None:
        recording = self.answers.begin(name)
        recording.begin(status, [])
        recording.keep(b"x" * size)
        self.answers.end(name)

    def known(self, *names: str) -> list[str]:
        return [name for name in names if self.answers.find(name) is not None]


@pytest.mark.parametrize("limits", [{"answers": 2}, {"total_bytes": 20}])
def test_the_oldest_answers_make_room(limits: dict[str, int]) -> None:
    kept = Kept(**limits)
    for name in "abc":
        kept.end(name)
    assert kept.known("a", "b", "c") == ["b", "c"]
    assert not kept.answers.was_never_begun("a") and kept.answers.was_never_begun("d")


def test_answers_are_kept_for_so_long() -> None:
    kept = Kept(seconds=60)
    kept.end("a")
    kept.clock.seconds += 59
    kept.end("b")
    assert kept.known("a", "b") == ["a", "b"]
    kept.clock.seconds += 1
    assert kept.known("a", "b") == ["b"]


def test_where_names_have_been_forgotten_nothing_is_certain_any_more() -> None:
    kept = Kept(answers=0, forgotten_names=2)
    for name in "ab":
        kept.end(name)
    assert kept.answers.was_never_begun("c")
    kept.end("c")
    assert not kept.answers.was_never_begun("d")


def test_a_call_that_runs_makes_no_room() -> None:
    kept = Kept(answers=1)
    running = kept.answers.begin("a")
    for name in "bc":
        kept.end(name)
    assert kept.answers.find("a") is running and kept.known("b", "c") == ["c"]


def test_interim_answers_and_trailers_pass_a_call_with_a_name_and_are_not_kept() -> None:
    messages: list[Message] = [
        {"type": "http.response.interim", "status": 103},
        {"type": "http.response.start", "status": 200, "trailers": True},
        {"type": "http.response.body", "body": b"hi"},
        {"type": "http.response.trailers", "headers": [(b"x-checksum", b"1")]},
    ]
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    answers, problems = Answers(), Problems("echo", Called().adapter.lifecycle)
    scope = {"type": "http", "headers": [(b"x-manager-call", f"{NAME};timeout=1".encode())]}
    asyncio.run(NamedCalls(app, answers, problems)(scope, receive, send))
    kept = answers.find(NAME)
    assert sent == messages
    assert kept is not None and kept.is_complete and kept.body() == b"hi" and not kept.interim
