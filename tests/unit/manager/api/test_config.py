"""The config over HTTP: what is in force, what differs, and taking it over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from agent_service.http.guards import TokenGuard
from manager.api.config import ConfigEndpoints
from manager.api.openapi import document
from manager.api.operation import routes_of
from manager.api.problem import Problems
from manager.errors import ConfigError, ConfigIssue
from manager.events import EventBus
from manager.settings import RuntimeSettings
from manager.specs.fleet_config import FleetConfig
from manager.specs.models import AgentConfig
from manager.supervision.reloading import Reloader
from tests.unit.manager.fakes.clock import FakeClock

DIFF, RELOAD = ("GET", "/api/config/diff"), ("POST", "/api/config/reload")


class Supervisor:
    """Holds the agents; the rest is the reloader's test."""

    def __init__(self, agents: tuple[AgentConfig, ...]) -> None:
        self._agents = agents

    def agents(self) -> tuple[AgentConfig, ...]:
        return self._agents

    def stopped(self) -> frozenset[str]:
        return frozenset()

    def reconfigure(self, agent: AgentConfig, *, restart: bool) -> None:
        self._agents = (agent,)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def fleet(**agent: Any) -> FleetConfig:
    one = AgentConfig.model_validate({"id": "a", "env": {"API_KEY": "secret", "OTHER": "env:OTHER"}, **agent})
    return FleetConfig(RuntimeSettings(), (one,), Path("/p/agents.config.json"), Path("/p"))


class Service:
    """The endpoints over a file that the test sets; `ask` answers one request after the other."""

    def __init__(self) -> None:
        self.file: FleetConfig | ConfigError = fleet()
        self.ready = True

    def ask(self, *requests: tuple[str, str], token: str | None = "t") -> list[httpx.Response]:
        async def main() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self._app())
            headers = {"X-Manager-Token": token} if token else {}
            async with httpx.AsyncClient(transport=transport, base_url="http://m", headers=headers) as client:
                return [await client.request(method, path) for method, path in requests]

        return asyncio.run(main())

    def _app(self) -> Starlette:
        config = fleet()
        supervisor = Supervisor(config.agents)
        bus = EventBus(FakeClock())
        reloader = Reloader(config, supervisor, self._load, bus, is_ready=lambda: self.ready)
        problems = Problems(Path("logs/manager.log"))
        guard = Middleware(TokenGuard, tokens=("t",), problems=problems)
        operations = ConfigEndpoints(reloader).operations()
        return Starlette(routes=routes_of(operations, [guard]), exception_handlers=problems.handlers())

    def _load(self) -> FleetConfig:
        if isinstance(self.file, ConfigError):
            raise self.file
        return self.file


@pytest.fixture
def service() -> Service:
    return Service()


def test_the_config_in_force_is_shown_without_its_secrets(service: Service) -> None:
    (answer,) = service.ask(("GET", "/api/config"))
    config = answer.json()
    assert (answer.status_code, set(config)) == (200, {"path", "runtime", "agents"})
    assert config["path"].endswith("agents.config.json")
    assert config["runtime"]["drainTimeoutSeconds"] == 30
    assert config["agents"][0]["env"] == {"API_KEY": "***", "OTHER": "env:OTHER"}
    assert "secret" not in answer.text


def test_a_reload_answers_what_the_difference_said_and_leaves_none(service: Service) -> None:
    service.file = fleet(name="A", port=8100)
    before, reloaded, after = service.ask(DIFF, RELOAD, DIFF)
    assert [answer.status_code for answer in (before, reloaded, after)] == [200, 202, 200]
    assert before.json() == reloaded.json()
    assert before.json()["changed"] == [
        {
            "id": "a",
            "changes": [
                {"path": "name", "before": "a", "after": "A", "effect": "live"},
                {"path": "port", "before": None, "after": 8100, "effect": "restart"},
            ],
            "stopped": False,
            "effect": "restart",
        }
    ]
    assert after.json() == {"added": [], "removed": [], "changed": [], "reordered": False, "runtime": []}


@pytest.mark.parametrize("request_line", [DIFF, RELOAD])
def test_a_wrong_file_is_one_problem_with_every_error(service: Service, request_line: tuple[str, str]) -> None:
    service.file = ConfigError("f.json", [ConfigIssue("a", "b", "c"), ConfigIssue("d", "e", "f")])
    answer, running = service.ask(request_line, ("GET", "/api/config"))
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert problem["errors"] == [
        {"path": "a", "found": "b", "allowed": "c"},
        {"path": "d", "found": "e", "allowed": "f"},
    ]
    assert running.json()["agents"][0]["name"] == "a"


def test_a_reload_demands_the_token_and_looking_does_not(service: Service) -> None:
    answers = service.ask(RELOAD, DIFF, ("GET", "/api/config"), token=None)
    assert [answer.status_code for answer in answers] == [401, 200, 200]


def test_a_get_reloads_nothing(service: Service) -> None:
    (answer,) = service.ask(("GET", "/api/config/reload"))
    assert answer.status_code == 405


def test_a_manager_that_stops_takes_nothing(service: Service) -> None:
    service.ready = False
    (answer,) = service.ask(RELOAD)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_the_answers_are_described() -> None:
    described = document(ConfigEndpoints(None).operations())  # type: ignore[arg-type]
    assert set(described["paths"]) == {"/api/config", "/api/config/diff", "/api/config/reload"}
    schemas = described["components"]["schemas"]
    assert set(schemas["ConfigDiff"]["properties"]) == {"added", "removed", "changed", "reordered", "runtime"}
    assert "effect" in schemas["AgentChange"]["properties"]
    assert set(described["paths"]["/api/config/reload"]["post"]["responses"]) == {"202", "400", "401", "422", "503"}
    json.dumps(described)
