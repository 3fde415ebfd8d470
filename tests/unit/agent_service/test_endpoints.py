from __future__ import annotations

import asyncio
import os
from typing import Any

import httpx
import pytest

from agent_service.contract import AdapterAction, AgentInfo, StatusReport
from tests.unit.agent_service.harness import Adapter, Exchange


def get(path: str, **options: Any) -> httpx.Response:
    async def scenario() -> httpx.Response:
        async with Adapter(**options).client() as client:
            return await client.get(path)

    return asyncio.run(scenario())


def act(body: Any, *, before: AdapterAction | None = None) -> httpx.Response:
    async def scenario() -> httpx.Response:
        adapter = Adapter()
        if before is not None:
            adapter.lifecycle.act(before)
        async with adapter.client() as client:
            if isinstance(body, bytes):
                return await client.post("/action", content=body)
            return await client.post("/action", json=body)

    return asyncio.run(scenario())


def test_health_is_ok_even_before_readiness() -> None:
    response = get("/health", ready=False)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_info_says_who_the_agent_is() -> None:
    response = get("/info", description="d", default_model="m", metadata={"team": "core"})
    assert response.json() == {
        "id": "a",
        "name": "A",
        "description": "d",
        "defaultModel": "m",
        "metadata": {"team": "core"},
        "entry_point": "dummy",
        "instance_id": "a-1",
        "pid": os.getpid(),
        "started_at": "2026-01-02T03:04:05.678Z",
        "contract_version": "1.0",
        "supports_streaming": True,
    }
    AgentInfo.model_validate_json(response.content)


def test_status_of_an_idle_agent() -> None:
    assert get("/status").json() == {
        "status": "running",
        "current_task": None,
        "in_flight": 0,
        "queued": 0,
        "tasks_total": 0,
        "tasks_failed": 0,
        "drain_deadline": None,
    }


def test_status_shows_the_task_in_flight_and_the_drain_deadline() -> None:
    async def scenario() -> None:
        adapter = Adapter(drain_timeout_seconds=60)
        exchange = Exchange.executing(adapter, {"sleep_ms": 3_600_000})
        await adapter.until(lambda: adapter.tasks.report().in_flight == 1)
        async with adapter.client() as client:
            answer = await client.post("/action", json={"action": "stop"})
            assert answer.status_code == 202
            status = (await client.get("/status")).json()
        assert answer.json() == status
        assert status["status"] == "stopping"
        assert status["current_task"]["started_at"] == "2026-01-02T03:04:05.678Z"
        assert status["in_flight"] == 1
        assert status["drain_deadline"] == "2026-01-02T03:05:05.678Z"
        exchange.gone.set()
        await exchange.task

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("action", "status"), [("pause", "paused"), ("resume", "running"), ("stop", "stopping"), ("restart", "stopping")]
)
def test_an_action_answers_202_with_the_new_status(action: str, status: str) -> None:
    response = act({"action": action})
    assert response.status_code == 202
    assert StatusReport.model_validate_json(response.content).status == status


def test_an_action_that_the_state_does_not_allow_is_a_409() -> None:
    response = act({"action": "pause"}, before=AdapterAction.STOP)
    assert response.status_code == 409
    assert response.json()["state"] == "stopping"
    assert "wait until it has stopped" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body is empty"),
        (b"pause", "is not valid JSON"),
        (["pause"], "an array, not an object"),
        ({}, 'has no "action"; send one of pause, resume, stop, restart'),
        ({"action": None}, 'has no "action"'),
        ({"action": "explode"}, "The action 'explode' is unknown; send one of pause, resume, stop, restart"),
        ({"action": ["pause"]}, "is unknown"),
        ({"action": "stop", "timeout_seconds": "soon"}, '"timeout_seconds" must be a number of seconds from 0'),
        ({"action": "stop", "timeout_seconds": -1}, '"timeout_seconds" must be'),
        ({"action": "stop", "timeout_seconds": 1e9}, '"timeout_seconds" must be'),
        (b'{"action": "stop", "timeout_seconds": NaN}', "is not valid JSON"),
    ],
)
def test_a_malformed_action_is_a_400(body: Any, sentence: str) -> None:
    response = act(body)
    assert response.status_code == 400
    assert sentence in response.json()["detail"]


def test_an_endless_action_is_refused() -> None:
    assert act(b'{"action": "' + b"x" * 100_000 + b'"}').status_code == 413


def test_logs_gives_the_newest_lines() -> None:
    lines = [str(number) for number in range(300)]
    assert get("/logs?lines=2", lines=lines).json() == {"lines": ["298", "299"]}
    assert len(get("/logs", lines=lines).json()["lines"]) == 200


@pytest.mark.parametrize("lines", ["0", "-1", "10001", "1e3", "1.5", "", "many", "٣", "9" * 5000])
def test_a_number_of_lines_out_of_range_is_a_400(lines: str) -> None:
    response = get(f"/logs?lines={lines}", lines=[])
    assert response.status_code == 400
    assert '"lines" must be a whole number from 1 to 10000' in response.json()["detail"]


def test_a_log_that_cannot_be_read_is_a_problem() -> None:
    response = get("/logs", lines=None)
    assert response.status_code == 500
    assert "cannot be read (Permission denied)" in response.json()["detail"]


@pytest.mark.parametrize("path", ["/", "/nope", "/execute/", "/health/x"])
def test_an_unknown_address_is_a_problem(path: str) -> None:
    response = get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert "/execute" in response.json()["detail"]


def test_a_wrong_method_is_a_problem_that_names_the_right_one() -> None:
    response = get("/execute")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.headers["content-type"] == "application/problem+json"
    assert "does not take GET" in response.json()["detail"]


def test_head_is_get_without_a_body() -> None:
    async def scenario() -> httpx.Response:
        async with Adapter().client() as client:
            return await client.head("/health")

    assert asyncio.run(scenario()).status_code == 200
