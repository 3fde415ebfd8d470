from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from agent_service.tracing.port import TaskTracing
from tests.unit.agent_service.harness import Adapter
from tests.unit.agent_service.tracing.recording import Record


def ask(method: str, tracing: TaskTracing | None, **options: Any) -> httpx.Response:
    async def scenario() -> httpx.Response:
        async with Adapter(tracing=tracing, tokens=("t",)).client() as client:
            return await client.request(method, "/tracing", headers={"X-Manager-Token": "t"}, **options)

    return asyncio.run(scenario())


def test_it_shows_what_is_traced_and_lets_it_be_changed_and_set_back(record: Record) -> None:
    tasks = record().tasks
    shown = {"exporting": True, "enabled": True, "sample_rate": 1, "overridden": False}
    assert ask("GET", tasks).json() == shown
    changed = {"exporting": True, "enabled": True, "sample_rate": 0.5, "overridden": True}
    assert ask("PUT", tasks, json={"sample_rate": 0.5}).json() == changed
    assert ask("GET", tasks).json() == changed
    assert ask("DELETE", tasks).json() == shown


@pytest.mark.parametrize("body", [{"sample_rate": 2}, {"enabled": "yes"}, {"samplerate": 1}])
def test_what_cannot_be_set_is_told_and_changes_nothing(record: Record, body: dict[str, Any]) -> None:
    tasks = record().tasks
    answer = ask("PUT", tasks, json=body)
    assert (answer.status_code, tasks.state().overridden) == (400, False)
    assert next(iter(body)) in answer.json()["detail"]
    assert '{"enabled": true, "sample_rate": 0.1}' in answer.json()["detail"]


def test_without_an_endpoint_there_is_nothing_to_set() -> None:
    assert ask("GET", None).json() == {"exporting": False, "enabled": False, "sample_rate": 0, "overridden": False}
    for method in ("PUT", "DELETE"):
        answer = ask(method, None, json={})
        assert answer.status_code == 409
        assert "OTEL_EXPORTER_OTLP_ENDPOINT" in answer.json()["detail"]


def test_it_is_behind_the_token(record: Record) -> None:
    async def scenario() -> int:
        async with Adapter(tracing=record().tasks, tokens=("t",)).client() as client:
            return (await client.put("/tracing", json={})).status_code

    assert asyncio.run(scenario()) == 401
