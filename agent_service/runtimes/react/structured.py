"""Answers by a JSON Schema (draft 2020-12): asked for by the provider's own mechanism, checked here, repaired once."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from langchain.agents.middleware.types import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, HumanMessage

from agent_service.definition import Provider
from agent_service.output_schema import Invalid, OutputSchema, Schema
from agent_service.runtimes.react.chunks import retry_chunk
from agent_service.runtimes.react.failures import ModelFailed
from agent_service.runtimes.react.turn import Turn

Mechanism = Literal["response_format", "format", "tool", "none"]
Handler = Callable[[ModelRequest[Turn]], Awaitable[ModelResponse[Any]]]

ANSWER_TOOL = "final_answer"
NAME = "answer"


class StructuredAnswers(AgentMiddleware[Any, Turn]):
    """Final messages hold one JSON value that satisfies the schema. Raises `ModelFailed` after one repair."""

    def __init__(self, schema: OutputSchema, provider: Provider) -> None:
        self._schema = schema
        self._provider = provider
        self._wrapped, self._tool = _answer_tool(schema.schema)

    async def awrap_model_call(self, request: ModelRequest[Turn], handler: Handler) -> ModelResponse[Any]:
        asked = self._asked(request)
        message = self._plain(await handler(asked))
        for is_last in (False, True):
            try:
                return ModelResponse(result=[self._checked(message)])
            except Invalid as error:
                if is_last:
                    raise ModelFailed(
                        f"The model's answer breaks output_schema at {error}. It was asked to repair it once; "
                        "simplify the schema or choose another model."
                    ) from error
                request.runtime.stream_writer(retry_chunk("invalid_output", 0))
                message = self._plain(await handler(self._repair(asked, message, error)))
        raise AssertionError("the last round returns or raises")

    def _asked(self, request: ModelRequest[Turn]) -> ModelRequest[Turn]:
        """The request with the provider's own way to ask for a schema."""
        match mechanism(self._provider, has_tools=bool(request.tools)):
            case "response_format":
                # As extra_body it passes the OpenAI library, which would refuse tools that are not strict beside it.
                extra: Schema = {"extra_body": {"response_format": response_format(self._schema.schema)}}
                return request.override(model_settings={**request.model_settings, **extra})
            case "format":
                return request.override(model_settings={**request.model_settings, "format": self._schema.schema})
            case "tool":
                return request.override(tools=[*request.tools, self._tool], tool_choice="any")
        return request

    def _plain(self, response: ModelResponse[Any]) -> AIMessage:
        """The model's message; a call of the answer's tool becomes text."""
        message = next(each for each in response.result if isinstance(each, AIMessage))
        call = next((each for each in message.tool_calls if each["name"] == ANSWER_TOOL), None)
        if call is None:
            return message
        value = call["args"].get("value") if self._wrapped else call["args"]
        return AIMessage(
            content=json.dumps(value, ensure_ascii=False),
            id=message.id,
            usage_metadata=message.usage_metadata,
            response_metadata=message.response_metadata,
        )

    def _checked(self, message: AIMessage) -> AIMessage:
        """A final message with its value written plainly, so that guardrails and readers find what it says."""
        if message.tool_calls:
            return message
        value = self._schema.read(message.text)
        return message.model_copy(update={"content": json.dumps(value, ensure_ascii=False)})

    def _repair(self, request: ModelRequest[Turn], message: AIMessage, error: Invalid) -> ModelRequest[Turn]:
        wrong = HumanMessage(
            f"Your answer is wrong at {error}. Answer again, with nothing but one JSON value that satisfies this "
            f"JSON Schema: {json.dumps(self._schema.schema, ensure_ascii=False)}"
        )
        return request.override(messages=[*request.messages, message, wrong])


def mechanism(provider: Provider, *, has_tools: bool) -> Mechanism:
    """How the provider is asked: by a parameter of its own where tools go beside it, else by a tool's arguments."""
    match provider:
        case "openai":
            return "response_format"
        case "ollama":
            return "tool" if has_tools else "format"
        case "scripted":
            return "none"
    return "tool"


def response_format(schema: Schema) -> Schema:
    """OpenAI's; strict where the schema is of the kind that this can be asked for."""
    return {"type": "json_schema", "json_schema": {"name": NAME, "schema": schema, "strict": can_be_strict(schema)}}


def can_be_strict(schema: Any) -> bool:
    """Every object in it names all its properties as required and takes no others."""
    if isinstance(schema, list):
        return all(map(can_be_strict, schema))
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        complete = set(schema.get("properties", ())) == set(schema.get("required", ()))
        if schema.get("additionalProperties") is not False or not complete:
            return False
    return all(map(can_be_strict, schema.values()))


def _answer_tool(schema: Schema) -> tuple[bool, Schema]:
    """A tool whose arguments are the answer, or hold it as `value` where it is no object."""
    is_object = schema.get("type") == "object"
    parameters = schema
    if not is_object:
        inner = {name: value for name, value in schema.items() if name != "$defs"}
        parameters = {"type": "object", "properties": {"value": inner}, "required": ["value"]}
        parameters |= {"$defs": schema["$defs"]} if "$defs" in schema else {}
    function = {"name": ANSWER_TOOL, "description": "Give the final answer.", "parameters": parameters}
    return not is_object, {"type": "function", "function": function}
