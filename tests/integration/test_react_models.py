"""An agent from data over the real client of OpenAI's API, against a server that answers as it is told."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import BaseTool

from agent_service.definition import AgentDefinition
from agent_service.runtimes.react.failures import ModelFailed, ModelUnavailable
from agent_service.runtimes.react.references import References
from agent_service.runtimes.react.runtime import ReactRuntime
from tests.fixtures.openai_server import OpenAIServer, Reply, openai_server
from tests.unit.agent_service.runtimes.react.harness import FakeTools, Json, answered, streamed, tokens, tool

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def agent(url: str, *, model: Json | None = None, **parts: Any) -> AgentDefinition:
    parameters = {"provider": "openai", "model": "test-model", "base_url": url, "timeout_seconds": 30, **(model or {})}
    return AgentDefinition.model_validate({"behavior": {"model_parameters": parameters}, **parts})


@tool
async def look_up(city: str) -> str:
    """Look a city up."""
    return f"{city} is on the Seine"


@pytest.mark.parametrize("ask", [answered, lambda *args, **parameters: streamed(*args, **parameters)[1]])
def test_tools_are_offered_called_and_answered(ask: Any) -> None:
    replies = Reply(tool_calls=(("look_up", {"city": "Paris"}),)), Reply(words=("On", " the", " Seine."))
    with openai_server(*replies) as server:
        result = ask(agent(server.url), look_up, input="Where is Paris?")
    assert result["output"] == "On the Seine."
    assert result["tool_calls"][0]["result"] == "Paris is on the Seine"
    assert result["usage"] == {
        "input_tokens": 22,
        "output_tokens": 14,
        "total_tokens": 36,
        "model_calls": 2,
        "cost_usd": None,
    }
    offered = server.requests[0]["tools"][0]["function"]
    assert (offered["name"], list(offered["parameters"]["properties"])) == ("look_up", ["city"])
    assert server.requests[1]["messages"][-1]["content"] == "Paris is on the Seine"


def test_tokens_are_streamed_as_they_come() -> None:
    with openai_server(Reply(words=("On", " the", " Seine."))) as server:
        chunks, result = streamed(agent(server.url), input="Where?")
    assert [chunk["text"] for chunk in chunks] == ["On", " the", " Seine."]
    assert tokens(chunks) == result["output"]


def gaps(server: OpenAIServer) -> list[float]:
    return [after - before for before, after in zip(server.times, server.times[1:], strict=False)]


def test_a_rate_limit_is_waited_for_as_long_as_it_says() -> None:
    limited = Reply(status=429, headers={"Retry-After": "1"})
    with openai_server(limited, Reply(words=("Fine.",))) as server:
        chunks, result = streamed(agent(server.url), input="x")
    assert result["output"] == "Fine."
    assert [chunk["type"] for chunk in chunks] == ["retry", "token"]
    # The server reads its clock a moment after the client.
    assert gaps(server)[0] >= 0.95


def test_a_rate_limit_that_lasts_is_told_the_caller() -> None:
    limited = Reply(status=429, headers={"Retry-After": "120"})
    with openai_server(limited) as server, pytest.raises(ModelUnavailable, match="told to answer 429") as caught:
        answered(agent(server.url), input="x")
    assert caught.value.retry_after_seconds == 120


def test_server_errors_are_tried_again_by_us_and_not_by_the_library_as_well() -> None:
    with openai_server(Reply(status=500), Reply(status=503)) as server:
        with pytest.raises(ModelUnavailable, match="asked 2 times"):
            answered(agent(server.url, model={"retries": 1}), input="x")
        assert len(server.requests) == 2


def test_a_wrong_key_is_not_tried_again() -> None:
    with openai_server(Reply(status=401)) as server, pytest.raises(ModelFailed, match="status 401"):
        answered(agent(server.url), input="x")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_model_that_stalls_is_given_up(is_streamed: bool) -> None:
    made = {"timeout_seconds": 0.5, "retries": 0}
    with openai_server(Reply(words=("On",), stall=True)) as server:
        ask: Any = streamed if is_streamed else answered
        with pytest.raises(ModelUnavailable, match="did not answer in time"):
            ask(agent(server.url, model=made), input="x")
        assert not is_streamed or server.hung_up.wait(30)


def test_a_model_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(ModelUnavailable, match="cannot be reached"):
            answered(agent(url, model={"retries": 0}), input="x")


def test_a_schema_is_asked_for_beside_tools_that_are_not_strict() -> None:
    replies = Reply(tool_calls=(("look_up", {"city": "Paris"}),)), Reply(words=('{"city": "Paris"}',))
    for ask in (answered, lambda *args, **parameters: streamed(*args, **parameters)[1]):
        with openai_server(*replies) as server:
            tools: list[BaseTool] = [look_up]
            result = ask(agent(server.url, output_schema=SCHEMA), *tools, input="x")
        assert result["output"] == {"city": "Paris"}
        wanted = server.requests[0]["response_format"]["json_schema"]
        assert (wanted["schema"], wanted["strict"]) == (SCHEMA, True)
        assert "strict" not in server.requests[0]["tools"][0]["function"]


def test_an_answer_that_breaks_the_schema_is_repaired() -> None:
    with openai_server(Reply(words=("Paris",)), Reply(words=('{"city": "Paris"}',))) as server:
        assert answered(agent(server.url, output_schema=SCHEMA), input="x")["output"] == {"city": "Paris"}
    assert "no JSON" in server.requests[1]["messages"][-1]["content"]


def test_the_key_goes_to_the_server_and_into_no_error(tmp_path: Path) -> None:
    async def scenario(url: str) -> str:
        made = agent(url, model={"api_key": "file:key", "retries": 0})
        runtime = ReactRuntime(made, FakeTools(), References({}, tmp_path).resolve, tmp_path)
        await runtime.open()
        with pytest.raises(ModelFailed) as caught:
            await runtime.execute({"input": "x"})
        await runtime.close()
        return str(caught.value)

    (tmp_path / "key").write_text("sk-very-secret")
    with openai_server(Reply(status=401)) as server:
        assert "sk-very-secret" not in asyncio.run(scenario(server.url))
    assert server.keys == ["Bearer sk-very-secret"]
