"""Agents from data over the real client of each provider, against servers that answer as they are told."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import BaseTool

from agent_service.definition import AgentDefinition
from agent_service.runtimes.react.failures import ModelFailed, ModelUnavailable
from agent_service.runtimes.react.references import References
from agent_service.runtimes.react.runtime import ReactRuntime
from tests.fixtures.model_servers.anthropic import Anthropic
from tests.fixtures.model_servers.google import Google
from tests.fixtures.model_servers.ollama import Ollama
from tests.fixtures.model_servers.openai import OpenAI
from tests.fixtures.model_servers.server import Dialect, ModelServer, Reply, model_server
from tests.unit.agent_service.runtimes.react.harness import FakeTools, Json, answered, streamed, tokens, tool

DIALECTS: dict[str, Dialect] = {"openai": OpenAI(), "anthropic": Anthropic(), "google": Google(), "ollama": Ollama()}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
LIMITED = Reply(status=429, headers={"Retry-After": "1"})


class Provider:
    """One provider: its server, and agents that use it."""

    def __init__(self, name: str) -> None:
        self.name = name

    @contextmanager
    def serving(self, *replies: Reply) -> Iterator[ModelServer]:
        with model_server(DIALECTS[self.name], *replies) as server:
            yield server

    def agent(self, url: str, *, model: Json | None = None, **parts: Any) -> AgentDefinition:
        parameters = {"provider": self.name, "model": "test-model", "base_url": url, "timeout_seconds": 30}
        return AgentDefinition.model_validate(
            {"behavior": {"model_parameters": {**parameters, **(model or {})}}, **parts}
        )


@pytest.fixture(
    params=[
        "openai",
        pytest.param("anthropic", marks=pytest.mark.full),
        pytest.param("google", marks=pytest.mark.full),
        pytest.param("ollama", marks=pytest.mark.full),
    ]
)
def provider(request: pytest.FixtureRequest) -> Provider:
    """OpenAI's client comes with the tests, the others with ./scripts/install-full."""
    return Provider(request.param)


def ask_streamed(definition: AgentDefinition, *tools: BaseTool, **parameters: Any) -> Json:
    return streamed(definition, *tools, **parameters)[1]


both_ways = pytest.mark.parametrize("ask", [answered, ask_streamed], ids=["whole", "streamed"])


@tool
async def look_up(city: str) -> str:
    """Look a city up."""
    return f"{city} is on the Seine"


@both_ways
def test_tools_are_offered_called_and_answered(provider: Provider, ask: Any) -> None:
    calls = ("look_up", {"city": "Paris"}), ("look_up", {"city": "Rouen"})
    with provider.serving(Reply(words=("Wait.",), tool_calls=calls), Reply(words=("On", " the", " Seine."))) as server:
        result = ask(provider.agent(server.url), look_up, input="Where are they?")
    assert result["output"] == "On the Seine."
    assert [(call["args"], call["status"], call["result"]) for call in result["tool_calls"]] == [
        ({"city": city}, "success", f"{city} is on the Seine") for city in ("Paris", "Rouen")
    ]
    assert len({call["id"] for call in result["tool_calls"]}) == 2
    assert result["usage"] == {
        "input_tokens": 22,
        "output_tokens": 14,
        "total_tokens": 36,
        "model_calls": 2,
        "cost_usd": None,
    }
    asked, told = (json.dumps(request) for request in server.requests)
    assert "Look a city up." in asked and "look_up" in asked
    assert "Paris is on the Seine" in told and "Rouen is on the Seine" in told


def test_tokens_are_streamed_as_they_come(provider: Provider) -> None:
    with provider.serving(Reply(words=("On", " the", " Seine."))) as server:
        chunks, result = streamed(provider.agent(server.url), input="Where?")
    assert [chunk["text"] for chunk in chunks] == ["On", " the", " Seine."]
    assert tokens(chunks) == result["output"]


def gaps(server: ModelServer) -> list[float]:
    return [after - before for before, after in zip(server.times, server.times[1:], strict=False)]


@both_ways
def test_a_rate_limit_is_waited_for_as_long_as_it_says(provider: Provider, ask: Any) -> None:
    with provider.serving(LIMITED, Reply(words=("Fine.",))) as server:
        assert ask(provider.agent(server.url), input="x")["output"] == "Fine."
    # The server reads its clock a moment after the client.
    assert gaps(server)[0] >= 0.95


def test_who_listens_is_told_of_the_retry(provider: Provider) -> None:
    with provider.serving(Reply(status=503), Reply(words=("Fine.",))) as server:
        chunks, _ = streamed(provider.agent(server.url), input="x")
    assert [chunk["type"] for chunk in chunks] == ["retry", "token"]


def test_a_rate_limit_that_lasts_is_told_the_caller(provider: Provider) -> None:
    limited = Reply(status=429, headers={"Retry-After": "120"})
    with provider.serving(limited) as server, pytest.raises(ModelUnavailable, match="told to answer 429") as caught:
        answered(provider.agent(server.url), input="x")
    assert caught.value.retry_after_seconds == 120


def test_server_errors_are_tried_again_by_us_and_not_by_the_library_as_well(provider: Provider) -> None:
    with provider.serving(Reply(status=500), Reply(status=503)) as server:
        with pytest.raises(ModelUnavailable, match="asked 2 times"):
            answered(provider.agent(server.url, model={"retries": 1}), input="x")
        assert len(server.requests) == 2


@both_ways
def test_a_wrong_key_is_not_tried_again(provider: Provider, ask: Any) -> None:
    with provider.serving(Reply(status=401)) as server:
        with pytest.raises(ModelFailed, match=r"status 401: .*told to answer 401"):
            ask(provider.agent(server.url), input="x")
        assert len(server.requests) == 1


@both_ways
def test_a_model_that_stalls_is_given_up(provider: Provider, ask: Any) -> None:
    with provider.serving(Reply(words=("On",), stall=True)) as server:
        with pytest.raises(ModelUnavailable, match="did not answer in time"):
            ask(provider.agent(server.url, model={"timeout_seconds": 0.5, "retries": 0}), input="x")
        # On a busy machine the time may be over before the request is on its way.
        for path, body in zip(server.paths, server.requests, strict=False):
            assert not DIALECTS[provider.name].is_streamed(path, body) or server.hung_up.wait(30)


def test_a_stream_that_breaks_off_is_asked_for_anew(provider: Provider) -> None:
    with provider.serving(Reply(words=("On", " the"), cut=True), Reply(words=("On", " it."))) as server:
        chunks, result = streamed(provider.agent(server.url), input="x")
    assert result["output"] == "On it."
    assert "retry" in [chunk["type"] for chunk in chunks]


@both_ways
def test_what_is_no_answer_of_a_model_is_told_as_such(provider: Provider, ask: Any) -> None:
    with provider.serving(*[Reply(garbage=True)] * 2) as server, pytest.raises((ModelFailed, ModelUnavailable)) as told:
        ask(provider.agent(server.url, model={"retries": 1}), input="x")
    assert "test-model" in str(told.value)


def test_a_model_that_is_not_there_is_unavailable(provider: Provider) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}{DIALECTS[provider.name].path}"
        with pytest.raises(ModelUnavailable, match="cannot be reached"):
            answered(provider.agent(url, model={"retries": 0}), input="x")


@both_ways
def test_a_schema_is_asked_for_in_the_providers_own_way(provider: Provider, ask: Any) -> None:
    as_tool = provider.name in ("anthropic", "google")
    final = Reply(tool_calls=(("final_answer", {"city": "Paris"}),)) if as_tool else Reply(words=('{"city": "Paris"}',))
    with provider.serving(final) as server:
        assert ask(provider.agent(server.url, output_schema=SCHEMA), input="x")["output"] == {"city": "Paris"}
    match provider.name:
        case "openai":
            wanted = server.requests[0]["response_format"]["json_schema"]
            assert (wanted["schema"], wanted["strict"]) == (SCHEMA, True)
        case "ollama":
            assert server.requests[0]["format"] == SCHEMA
        case _:
            assert "final_answer" in json.dumps(server.requests[0])


@both_ways
def test_a_schema_is_asked_for_beside_tools(provider: Provider, ask: Any) -> None:
    as_tool = provider.name != "openai"
    final = Reply(tool_calls=(("final_answer", {"city": "Paris"}),)) if as_tool else Reply(words=('{"city": "Paris"}',))
    with provider.serving(Reply(tool_calls=(("look_up", {"city": "Paris"}),)), final) as server:
        result = ask(provider.agent(server.url, output_schema=SCHEMA), look_up, input="x")
    assert result["output"] == {"city": "Paris"}
    assert [call["name"] for call in result["tool_calls"]] == ["look_up"]
    if not as_tool:
        assert server.requests[0]["response_format"]["json_schema"]["strict"] is True
        assert "strict" not in server.requests[0]["tools"][0]["function"]


def test_an_answer_that_breaks_the_schema_is_repaired(provider: Provider) -> None:
    with provider.serving(Reply(words=("Paris",)), Reply(words=('{"city": "Paris"}',))) as server:
        assert answered(provider.agent(server.url, output_schema=SCHEMA), input="x")["output"] == {"city": "Paris"}
    assert "no JSON" in json.dumps(server.requests[1])


def test_a_conversation_goes_on_with_everything_that_was_said(provider: Provider, tmp_path: Path) -> None:
    remembering = {"memory": {"kind": "thread"}}
    first = Reply(tool_calls=(("look_up", {"city": "Paris"}),)), Reply(words=("On the Seine.",))
    with provider.serving(*first, Reply(words=("It does.",))) as server:
        made = provider.agent(server.url, **remembering)

        async def scenario() -> Json:
            runtime = ReactRuntime(made, FakeTools(look_up), str, tmp_path)
            await runtime.open()
            await runtime.execute({"input": "Where is Paris?", "thread_id": "t"})
            result = await runtime.execute({"input": "Does it rain?", "thread_id": "t"})
            await runtime.close()
            return dict(result)

        assert asyncio.run(scenario())["output"] == "It does."
    last = json.dumps(server.requests[-1])
    assert all(said in last for said in ("Where is Paris?", "Paris is on the Seine", "On the Seine.", "Does it rain?"))


def test_the_key_goes_to_the_server_and_into_no_error(provider: Provider, tmp_path: Path) -> None:
    async def scenario(url: str) -> str:
        made = provider.agent(url, model={"api_key": "file:key", "retries": 0})
        runtime = ReactRuntime(made, FakeTools(), References({}, tmp_path).resolve, tmp_path)
        await runtime.open()
        with pytest.raises(ModelFailed) as caught:
            await runtime.execute({"input": "x"})
        await runtime.close()
        return str(caught.value)

    (tmp_path / "key").write_text("sk-very-secret")
    with provider.serving(Reply(status=401)) as server:
        assert "sk-very-secret" not in asyncio.run(scenario(server.url))
    (key,) = server.keys
    assert str(key).removeprefix("Bearer ") == "sk-very-secret"


def test_nothing_is_taken_from_the_environment(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "OLLAMA_API_KEY"):
        monkeypatch.setenv(name, "sk-of-somebody-else")
    for name in ("OPENAI_API_BASE", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "OLLAMA_HOST"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with provider.serving(Reply(words=("Fine.",))) as server:
        assert answered(provider.agent(server.url), input="x")["output"] == "Fine."
    assert "sk-of-somebody-else" not in str(server.keys)
