from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_service.definition import AgentDefinition
from tests.unit.agent_service.harness import Adapter, events
from tests.unit.agent_service.runtimes.react.harness import definition, running

KEPT = definition("one", "two", memory={"kind": "thread"})
Json = dict[str, Any]


def served(
    made: AgentDefinition, directory: Path, talk: Callable[[httpx.AsyncClient], Awaitable[Any]], **options: Any
) -> Any:
    """What `talk` returns, with an adapter around the agent."""

    async def scenario() -> Any:
        async with running(made, directory=directory) as runtime, Adapter(runtime, **options).client() as client:
            return await talk(client)

    return asyncio.run(scenario())


def test_wrong_parameters_are_400_and_no_failure(tmp_path: Path) -> None:
    async def talk(client: httpx.AsyncClient) -> tuple[httpx.Response, Json, str]:
        response = await client.post("/execute", json={"parameters": {"text": "x"}})
        return response, (await client.get("/status")).json(), (await client.get("/metrics")).text

    response, status, metrics = served(KEPT, tmp_path, talk)
    assert (response.status_code, status["tasks_failed"]) == (400, 0)
    assert 'agent_tasks_total{outcome="rejected"} 1' in metrics
    assert "text" in response.json()["detail"]


def test_a_rate_limit_is_503_with_retry_after_streamed_or_not(tmp_path: Path) -> None:
    limited = definition({"error": {"status": 429, "retry_after_seconds": 9}})

    async def talk(client: httpx.AsyncClient) -> tuple[httpx.Response, httpx.Response]:
        body = {"parameters": {"input": "x"}}
        stream = {"Accept": "text/event-stream"}
        return await client.post("/execute", json=body), await client.post("/execute", json=body, headers=stream)

    plain, streamed = served(limited, tmp_path, talk)
    assert (plain.status_code, plain.headers["retry-after"]) == (503, "9")
    ((name, problem),) = events(streamed.text)
    assert (name, problem["status"]) == ("error", 503)


def test_info_tells_the_definition_in_short(tmp_path: Path) -> None:
    async def talk(client: httpx.AsyncClient) -> Json:
        return dict((await client.get("/info")).json())

    told = served(KEPT, tmp_path, talk, entry_point="react")["definition"]
    assert (told["model"]["provider"], told["memory"]) == ("scripted", "thread")


def test_metrics_count_tokens_by_model(tmp_path: Path) -> None:
    async def talk(client: httpx.AsyncClient) -> str:
        await client.post("/execute", json={"parameters": {"input": "x y"}})
        return (await client.get("/metrics")).text

    metrics = served(KEPT, tmp_path, talk)
    assert 'agent_model_tokens_total{kind="input",model="script"} 2' in metrics
    assert 'agent_model_calls_total{model="script",outcome="succeeded"} 1' in metrics


def test_a_reload_answers_what_it_changed(tmp_path: Path) -> None:
    async def talk(client: httpx.AsyncClient) -> tuple[Json, Json]:
        body = {"definition": definition("new").model_dump()}
        reloaded = (await client.post("/reload", json=body)).json()
        return reloaded, (await client.post("/execute", json={"parameters": {"input": "x"}})).json()

    reloaded, answer = served(KEPT, tmp_path, talk)
    assert reloaded["changed"] == ["behavior.model_parameters.script", "memory.kind"]
    assert reloaded["definition"]["revision"] == 1
    assert answer["result"]["output"] == "new"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, 'no "definition"'),
        (
            {"definition": {"behavior": {"model_parameters": {"provider": "x"}}, "memory": {"kind": 7}}},
            "behavior.model_parameters.provider",
        ),
        (
            {"definition": {"behavior": {"model_parameters": {"provider": "x"}}, "memory": {"kind": 7}}},
            "memory.kind",
        ),
    ],
)
def test_a_wrong_definition_is_400_with_every_path(tmp_path: Path, body: Json, said: str) -> None:
    async def talk(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/reload", json=body)

    response = served(KEPT, tmp_path, talk)
    assert response.status_code == 400
    assert said in response.json()["detail"]


def test_a_wrong_definition_is_told_as_in_the_config_file(tmp_path: Path) -> None:
    model = {"provider": "ollama", "model": "m", "temperature": "0.4", "tempreature": 1}

    async def talk(client: httpx.AsyncClient) -> str:
        body = {"definition": {"behavior": {"model_parameters": model}, "memory": {"kind": 7}}}
        return str((await client.post("/reload", json=body)).json()["detail"])

    below = "definition.behavior.model_parameters"
    assert served(KEPT, tmp_path, talk) == (
        "The definition is wrong, and nothing has changed: "
        f"{below}.tempreature: found an unknown key; did you mean 'temperature'?; "
        f'{below}.temperature: found "0.4"; a number is allowed; '
        "definition.memory.kind: found 7; it should be 'none' or 'thread'."
    )


def test_what_somebody_took_for_a_reference_is_not_quoted(tmp_path: Path) -> None:
    model = {"provider": "openai", "model": "m", "api_key": "sk-secret"}

    async def talk(client: httpx.AsyncClient) -> str:
        return (await client.post("/reload", json={"definition": {"behavior": {"model_parameters": model}}})).text

    answer = served(KEPT, tmp_path, talk)
    assert "definition.behavior.model_parameters.api_key" in answer
    assert "sk-secret" not in answer


def test_threads_are_listed_read_and_deleted(tmp_path: Path) -> None:
    async def talk(client: httpx.AsyncClient) -> list[Any]:
        for thread in ("a", "b"):
            await client.post("/execute", json={"parameters": {"input": "x", "thread_id": thread}})
        page = (await client.get("/threads", params={"limit": 1})).json()
        rest = (await client.get("/threads", params={"before": page["next"]})).json()
        thread = (await client.get("/threads/a")).json()
        deleted = (await client.delete("/threads/a")).status_code
        gone = [(await client.request(method, "/threads/a")).status_code for method in ("GET", "DELETE")]
        return [page["threads"][0]["thread_id"], rest, len(thread["messages"]), deleted, gone]

    first, rest, length, deleted, gone = served(KEPT, tmp_path, talk)
    assert (first, [each["thread_id"] for each in rest["threads"]], rest["next"]) == ("b", ["a"], None)
    assert (length, deleted, gone) == (2, 204, [404, 404])


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "²"])
def test_a_wrong_limit_is_refused(tmp_path: Path, limit: str) -> None:
    async def talk(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get("/threads", params={"limit": limit})

    assert served(KEPT, tmp_path, talk).status_code == 400


ADDRESSES = [("POST", "/reload"), ("GET", "/threads"), ("GET", "/threads/a"), ("DELETE", "/threads/a")]


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_each_asks_for_the_token(tmp_path: Path, method: str, path: str) -> None:
    async def talk(client: httpx.AsyncClient) -> int:
        return (await client.request(method, path)).status_code

    assert served(KEPT, tmp_path, talk, tokens=("secret",)) == 401


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_an_agent_of_another_kind_says_that_it_has_none(method: str, path: str) -> None:
    async def scenario() -> httpx.Response:
        body = {"definition": KEPT.model_dump()} if method == "POST" else None
        async with Adapter().client() as client:
            return await client.request(method, path, json=body)

    response = asyncio.run(scenario())
    assert response.status_code == 409
    assert "react" in response.json()["detail"]
