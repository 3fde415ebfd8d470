from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette

from agent_service.contract import rfc3339
from agent_service.definition import Tracing
from manager.adapter_client import AdapterClient
from manager.api.operation import routes_of
from manager.api.problem import Problems
from manager.api.tracing import TracingEndpoints
from manager.errors import UnknownAgent
from manager.registry.registry import Registry
from manager.supervision.fleet import Fleet
from manager.telemetry.tracing.policies import Policies
from manager.telemetry.tracing.telling import TracingTeller
from tests.unit.manager.fakes.clock import START, FakeClock
from tests.unit.manager.fakes.tracing_table import FakeTracingTable

PATH = "/api/agent-services/a/tracing"
DEFINED = {
    "id": "a",
    "exporting": True,
    "enabled": True,
    "sample_rate": 0.5,
    "overridden": False,
    "set_by": None,
    "set_at": None,
}
BY_ALICE = {"overridden": True, "set_by": "alice", "set_at": rfc3339(START)}


class Service:
    """Two instances of `a`, one of which is down, and an expired third one; `told` is what adapters hear."""

    def __init__(self, *, is_exporting: bool = True, sidecar: bool = False) -> None:
        self.told: list[tuple[str, str, bytes]] = []
        self.sidecar = sidecar
        self.table = FakeTracingTable()
        self.policies = Policies(
            lambda _: Tracing(sample_rate=0.5),
            1,
            self.table,  # type: ignore[arg-type]
            FakeClock(),
        )
        self.is_exporting = is_exporting

    def agent(self, agent_id: str) -> Any:
        if agent_id != "a":
            raise UnknownAgent(f"There is no agent {agent_id!r}.", agent_id=agent_id)
        return SimpleNamespace(id="a", state="running", sidecar=self.sidecar, managed=True)

    def of(self, agent_id: str) -> list[Any]:
        return [
            SimpleNamespace(service_url=f"http://{name}", expired=name == "gone") for name in ("down", "up", "gone")
        ]

    def hear(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "down":
            raise httpx.ConnectError("refused")
        self.told.append((request.method, str(request.url), request.content))
        return httpx.Response(200, json={})

    def ask(self, method: str, path: str = PATH, **options: Any) -> httpx.Response:
        async def scenario() -> httpx.Response:
            adapters = httpx.AsyncClient(transport=httpx.MockTransport(self.hear))
            teller = TracingTeller(
                AdapterClient(adapters, tokens=()), self.policies.override_of, is_exporting=self.is_exporting
            )
            endpoints = TracingEndpoints(
                cast("Fleet", self),
                cast("Registry", self),
                self.policies,
                teller.tell,
                is_exporting=self.is_exporting,
            )
            handlers = Problems(Path("manager.log")).handlers()
            app = Starlette(routes=routes_of(endpoints.operations(), []), exception_handlers=handlers)
            transport = httpx.ASGITransport(app)
            headers = {"X-Actor": "alice"}
            async with adapters, httpx.AsyncClient(transport=transport, base_url="http://m", headers=headers) as client:
                return await client.request(method, path, **options)

        return asyncio.run(scenario())


def test_it_shows_what_the_definition_says() -> None:
    assert Service().ask("GET").json() == DEFINED


def test_a_change_holds_at_once_is_told_every_instance_and_can_be_taken_back() -> None:
    service = Service()
    answer = service.ask("PUT", json={"enabled": False})
    assert answer.json() == {**DEFINED, **BY_ALICE, "enabled": False}
    assert service.policies.of("a") == Tracing(enabled=False, sample_rate=0.5)
    assert service.told == [("PUT", "http://up/tracing", b'{"enabled":false,"sample_rate":0.5}')]
    # What is left out stays as it is.
    answer = service.ask("PUT", json={"sample_rate": 1})
    assert answer.json() == {**DEFINED, **BY_ALICE, "enabled": False, "sample_rate": 1}
    assert service.ask("DELETE").json() == DEFINED
    assert service.told[-1][:2] == ("DELETE", "http://up/tracing")


@pytest.mark.parametrize("body", [{}, {"sample_rate": 1.5}, {"enable": True}])
def test_what_cannot_be_set_changes_nothing(body: dict[str, Any]) -> None:
    service = Service()
    assert service.ask("PUT", json=body).status_code == 400
    assert (service.policies.override_of("a"), service.told) == (None, [])


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_cannot_be_kept_changes_nothing_and_nobody_is_told(method: str) -> None:
    service = Service()
    service.table.refusing = True
    assert service.ask(method, json={"enabled": False}).status_code == 503
    assert (service.policies.override_of("a"), service.told) == (None, [])


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_it_cannot_be_set_without_an_endpoint_or_for_a_sidecar(method: str) -> None:
    without = Service(is_exporting=False).ask(method, json={"enabled": True})
    assert without.status_code == 409
    assert "tracingEndpoint" in without.json()["detail"]
    sidecar = Service(sidecar=True).ask(method, json={"enabled": True})
    assert (sidecar.status_code, sidecar.json()["agent_id"]) == (409, "a")


def test_without_an_endpoint_it_shows_so() -> None:
    assert Service(is_exporting=False).ask("GET").json() == {**DEFINED, "exporting": False}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_unknown_agent_is_told_first(method: str) -> None:
    assert Service(is_exporting=False).ask(method, PATH.replace("/a/", "/b/")).status_code == 404
