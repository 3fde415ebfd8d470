from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from agent_service.contract import DefinitionSummary, Unregistration
from manager.adapter_client import AdapterClient
from manager.errors import ManagerError, NotReady, StateConflict
from manager.events import EventBus
from manager.registry.registry import Registry
from manager.supervision.introspection import Introspection
from manager.supervision.states import AgentState
from manager.supervision.views import AgentView
from tests.unit.manager.fakes.adapters import registration
from tests.unit.manager.fakes.clock import FakeClock, run

SERVER = {
    "name": "files",
    "transport": "stdio",
    "fail_mode": "closed",
    "state": "unavailable",
    "tools": 3,
    "last_error": "it ended with exit status 1",
    "since": "2026-01-02T03:04:05.000Z",
    "ping_ms": None,
    "reconnects": 2,
    "calls_total": 7,
    "calls_failed": 1,
    "warnings": [],
}
SUMMARY = {
    "model": {"provider": "openai", "model": "m", "base_url": None},
    "memory": "thread",
    "servers": [SERVER],
    "structured_output": False,
    "guardrails": True,
    "revision": 1,
}


def view(agent_id: str, *, sidecar: bool = False) -> AgentView:
    nothing = dict.fromkeys(AgentView.model_fields)
    given = {"id": agent_id, "state": AgentState.RUNNING, "sidecar": sidecar}
    return AgentView.model_construct(**{**nothing, **given})


class Asked:
    """An agent whose instances answer as the test says; `requests` are those that came."""

    def __init__(self, answer: Callable[[httpx.Request], Awaitable[httpx.Response]], **changes: Any) -> None:
        self.requests: list[str] = []
        self._answer = answer
        clock = FakeClock()
        self.registry = Registry(clock, EventBus(clock), interval_seconds=5, ttl_seconds=30)
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._handle), trust_env=False)
        self.introspection = Introspection(
            lambda agent_id: view(agent_id, **changes), self.registry, AdapterClient(client, tokens=())
        )

    def register(self, *ports: int) -> Introspection:
        for port in ports or (8100,):
            self.registry.register(registration(f"i-{port}", "planner", port))
        return self.introspection

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(str(request.url))
        return await self._answer(request)


def answering(status: int = 200, **body: Any) -> Asked:
    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=body)

    return Asked(answer)


def test_the_newest_process_is_asked_and_one_that_drains_only_where_there_is_no_other() -> None:
    asked = answering(id="planner")
    introspection = asked.register(8100, 8101)
    assert run(introspection.info("planner")) == {"id": "planner"}
    asked.registry.unroute("i-8101")
    assert introspection.address("planner") == "http://127.0.0.1:8100"
    asked.registry.unregister(Unregistration(id="planner", instanceId="i-8100"))
    assert introspection.address("planner") == "http://127.0.0.1:8101"
    assert asked.requests == ["http://127.0.0.1:8101/info"]


def test_an_agent_from_data_tells_of_its_model_and_its_servers() -> None:
    summary = run(answering(id="planner", definition=SUMMARY).register().definition("planner"))
    assert summary == DefinitionSummary.model_validate(SUMMARY)
    assert (summary.servers[0].name, summary.servers[0].state, summary.servers[0].fail_mode) == (
        "files",
        "unavailable",
        "closed",
    )


def test_an_adapter_of_an_earlier_version_may_say_less_of_its_servers() -> None:
    older = {**SUMMARY, "servers": [{name: value for name, value in SERVER.items() if name != "fail_mode"}]}
    summary = run(answering(definition=older).register().definition("planner"))
    assert summary is not None
    assert summary.servers[0].fail_mode == "open"


def test_an_agent_of_another_kind_has_no_definition() -> None:
    assert run(answering(id="planner").register().definition("planner")) is None


def test_what_is_no_definition_is_told_as_such_and_not_shown() -> None:
    with pytest.raises(NotReady, match="breaks the contract"):
        run(answering(definition={"model": "secret"}).register().definition("planner"))


def test_threads_come_page_by_page() -> None:
    asked = answering(threads=[{"thread_id": "t", "updated_at": "2026-01-02T03:04:05.000Z"}], next="c")
    page = run(asked.register().threads("planner", limit=1, before="b"))
    assert ([each.thread_id for each in page.threads], page.next) == (["t"], "c")
    assert asked.requests == ["http://127.0.0.1:8100/threads?limit=1&before=b"]


@pytest.mark.parametrize("status", [404, 409])
def test_an_agent_that_keeps_no_threads_is_told_apart_from_one_that_does_not_answer(status: int) -> None:
    with pytest.raises(StateConflict, match=r"planner keeps no threads; only an agent from data with memory\.kind"):
        run(answering(status, detail="no").register().threads("planner"))
    with pytest.raises(NotReady, match=r"planner is running and does not answer for itself \(it answered 500\)"):
        run(answering(500, detail="no").register().threads("planner"))


def test_a_page_waits_for_its_facts_no_longer_than_it_says() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(3600)
        raise AssertionError("nobody waits so long")

    with pytest.raises(NotReady, match=r"no answer within 0\.5 s"):
        run(Asked(answer).register().definition("planner", within_seconds=0.5))


def test_a_process_that_cannot_be_reached_is_not_ready() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(
        NotReady, match=r"does not answer for itself \(The adapter at .* cannot be reached \(refused\)\)"
    ):
        run(Asked(answer).register().status("planner"))


@pytest.mark.parametrize(
    ("changes", "expected", "sentence"),
    [
        ({"sidecar": True}, StateConflict, "planner is a sidecar and has no adapter to ask"),
        ({}, NotReady, "it is not registered"),
    ],
)
def test_who_cannot_be_asked_is_not_asked(changes: dict[str, Any], expected: type[ManagerError], sentence: str) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError("asked")

    asked = Asked(answer, **changes)
    for ask in (asked.introspection.info, asked.introspection.definition, asked.introspection.threads):
        with pytest.raises(expected, match=sentence):
            run(ask("planner"))
