from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage

from agent_service.definition import Provider
from agent_service.output_schema import OutputSchema
from agent_service.runtimes.react.failures import ModelFailed
from agent_service.runtimes.react.structured import (
    ANSWER_TOOL,
    StructuredAnswers,
    can_be_strict,
)
from agent_service.runtimes.react.turn import Turn
from tests.unit.agent_service.runtimes.react.harness import answered, calls, definition, streamed, tool

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["name"],
}


def test_the_output_is_the_object() -> None:
    made = definition({"content": {"name": "Ada"}}, output_schema=PERSON)
    assert answered(made, input="x")["output"] == {"name": "Ada"}


def test_a_code_fence_does_no_harm() -> None:
    made = definition('```json\n{"name": "Ada"}\n```', output_schema=PERSON)
    assert answered(made, input="x")["output"] == {"name": "Ada"}


@pytest.mark.parametrize("first", [{"content": {"name": 7}}, "no JSON at all", '{"name": NaN}'])
def test_a_wrong_answer_is_repaired_once(first: Any) -> None:
    made = definition(first, {"content": {"name": "Ada"}}, output_schema=PERSON)
    chunks, result = streamed(made, input="x")
    assert result["output"] == {"name": "Ada"}
    assert result["usage"]["model_calls"] == 2
    assert [chunk["reason"] for chunk in chunks if chunk["type"] == "retry"] == ["invalid_output"]
    assert len(result["messages"]) == 1, "the repair is no part of the conversation"


def test_the_model_is_told_what_was_wrong() -> None:
    heard: list[str] = []

    async def handler(request: ModelRequest[Turn]) -> ModelResponse[Any]:
        heard.append(request.messages[-1].text if request.messages else "")
        return ModelResponse(result=[AIMessage('{"name": "x", "tags": ["ok", 7]}')])

    with pytest.raises(ModelFailed, match=r"at \$\.tags\[1\]: 7 is not of type 'string'"):
        ask(PERSON, "openai", handler)
    assert "$.tags[1]: 7 is not of type 'string'" in heard[1]
    assert '"properties"' in heard[1]


def test_after_the_repair_the_failure_says_which_path() -> None:
    made = definition({"content": {"name": 7}}, output_schema=PERSON)
    with pytest.raises(ModelFailed, match=r"\$\.name: 7 is not of type 'string'") as caught:
        answered(made, input="x")
    assert caught.value.status == 500


def test_tools_are_called_on_the_way_to_a_structured_answer() -> None:
    @tool
    async def look() -> str:
        """Look it up."""
        return "Ada"

    made = definition(calls("look"), {"content": {"name": "Ada"}}, output_schema=PERSON)
    result = answered(made, look, input="x")
    assert (result["output"], len(result["tool_calls"])) == ({"name": "Ada"}, 1)


def ask(schema: dict[str, Any], provider: Provider, handler: Any, tools: list[Any] | None = None) -> AIMessage:
    runtime = SimpleNamespace(context=Turn(), stream_writer=lambda chunk: None)
    request: ModelRequest[Turn] = ModelRequest(
        model=cast("Any", None), messages=[], tools=tools or [], runtime=cast("Any", runtime)
    )
    response = asyncio.run(StructuredAnswers(OutputSchema(schema), provider).awrap_model_call(request, handler))
    return cast("AIMessage", response.result[0])


def asked_of(provider: Provider, schema: dict[str, Any], answer: AIMessage, *tools: Any) -> tuple[Any, AIMessage]:
    seen: list[ModelRequest[Turn]] = []

    async def handler(request: ModelRequest[Turn]) -> ModelResponse[Any]:
        seen.append(request)
        return ModelResponse(result=[answer])

    return seen, ask(schema, provider, handler, list(tools))


def test_openai_is_asked_by_its_response_format() -> None:
    (request,), _ = asked_of("openai", PERSON, AIMessage('{"name": "Ada"}'))
    wanted = request.model_settings["extra_body"]["response_format"]
    assert wanted["type"] == "json_schema"
    assert (wanted["json_schema"]["schema"], wanted["json_schema"]["strict"]) == (PERSON, False)


def test_ollama_is_asked_by_its_format_unless_tools_stand_beside_it() -> None:
    (request,), _ = asked_of("ollama", PERSON, AIMessage('{"name": "Ada"}'))
    assert request.model_settings["format"] == PERSON
    (request,), _ = asked_of("ollama", PERSON, AIMessage('{"name": "Ada"}'), {"name": "another"})
    assert [each.get("function", each)["name"] for each in request.tools] == ["another", ANSWER_TOOL]


@pytest.mark.parametrize("provider", ["anthropic", "google"])
def test_others_are_asked_by_the_arguments_of_a_tool(provider: Provider) -> None:
    call = {"name": ANSWER_TOOL, "args": {"name": "Ada"}, "id": "1"}
    (request,), message = asked_of(provider, PERSON, AIMessage("", tool_calls=[call]))
    assert request.tools[0]["function"]["parameters"] == PERSON
    assert request.tool_choice == "any"
    assert (message.text, message.tool_calls) == ('{"name": "Ada"}', [])


def test_an_answer_that_is_no_object_is_wrapped_for_the_tool_and_unwrapped() -> None:
    schema = {"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "integer"}}}
    call = {"name": ANSWER_TOOL, "args": {"value": [1, 2]}, "id": "1"}
    (request,), message = asked_of("anthropic", schema, AIMessage("", tool_calls=[call]))
    parameters = request.tools[0]["function"]["parameters"]
    assert (parameters["required"], parameters["$defs"]) == (["value"], schema["$defs"])
    assert message.text == "[1, 2]"


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, False),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, False),
        ({"type": "array", "items": {"type": "object"}}, False),
        ({"anyOf": [{"type": "object"}]}, False),
        ({"type": "string"}, True),
    ],
)
def test_a_schema_is_strict_only_where_every_object_is_closed_and_complete(schema: Any, strict: bool) -> None:
    assert can_be_strict(schema) is strict
