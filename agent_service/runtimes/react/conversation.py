"""What goes in and comes out: the parameters of a call, messages on the wire, the answer."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError, model_validator

from agent_service.errors import BadRequest
from agent_service.runtimes.protocol import Parameters
from agent_service.runtimes.react.guardrails import REFUSED, Rule
from agent_service.runtimes.react.usage import Tally

ThreadId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:@-]{1,200}$")]
Text = Annotated[str, StringConstraints(min_length=1)]
EXAMPLE = '{"input": "What time is it?"}'


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Call(_Strict):
    """A tool call of an assistant's message."""

    id: str
    name: str
    args: dict[str, JsonValue] = Field(default_factory=dict)


class Message(_Strict):
    """One message, the same in requests, answers and threads. `content`: text, or content blocks of LangChain's form.

    `tool_calls` belongs to the assistant; `tool_call_id`, `name` and `status` to a tool's result. `refused` stands
    where a guardrail took the text away.
    """

    role: Literal["user", "assistant", "tool"]
    content: str | list[dict[str, JsonValue]] | None = ""
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    status: Literal["success", "error"] | None = None
    refused: dict[str, JsonValue] | None = None

    @model_validator(mode="after")
    def _belongs_to_its_role(self) -> Message:
        if (self.tool_call_id is not None) != (self.role == "tool"):
            raise ValueError("a message of the role tool needs a tool_call_id, and no other takes one")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only a message of the role assistant takes tool_calls")
        return self

    def as_langchain(self) -> BaseMessage:
        content: Any = self.content or ""
        made = {"content": content, "id": uuid.uuid4().hex}
        match self.role:
            case "user":
                return HumanMessage(**made)
            case "assistant":
                return AIMessage(**made, tool_calls=[call.model_dump() for call in self.tool_calls or []])
        return ToolMessage(
            **made, tool_call_id=self.tool_call_id or "", name=self.name, status=self.status or "success"
        )


class Request(_Strict):
    """The parameters of a call: `input`, or `resume` for the turn that a thread was left in."""

    input: Text | Annotated[list[Message], Field(min_length=1)] | None = None
    thread_id: ThreadId | None = None
    resume: bool = False

    @model_validator(mode="after")
    def _one_of_input_and_resume(self) -> Request:
        if self.resume == (self.input is not None):
            raise ValueError('give "input", or "resume": true without it')
        if self.resume and self.thread_id is None:
            raise ValueError('"resume" needs the "thread_id" of the thread to go on with')
        if isinstance(self.input, list) and self.input[-1].role == "assistant":
            raise ValueError("the last message of the input must be the user's or a tool's")
        return self

    def messages(self) -> list[BaseMessage]:
        """The input, each message with an id of its own."""
        if isinstance(self.input, list):
            return [message.as_langchain() for message in self.input]
        return [HumanMessage(content=self.input or "", id=uuid.uuid4().hex)]


def read_request(parameters: Parameters) -> Request:
    """Raises `BadRequest` with a sentence that names each wrong parameter."""
    try:
        return Request.model_validate(parameters)
    except ValidationError as error:
        wrong = "; ".join(
            f"{_place(item['loc'])}: {item['msg']}, found {item['input']!r:.100}"
            for item in error.errors(include_url=False)
        )
        raise BadRequest(f"The parameters are wrong ({wrong}); send parameters such as {EXAMPLE}.") from error


def on_the_wire(message: BaseMessage) -> dict[str, Any] | None:
    """A message as JSON; None for one that is neither user's, assistant's nor a tool's."""
    match message:
        case HumanMessage():
            return {"role": "user", "content": message.content}
        case AIMessage():
            calls = [{"id": call["id"], "name": call["name"], "args": call["args"]} for call in message.tool_calls]
            refused = message.additional_kwargs.get(REFUSED)
            return {
                "role": "assistant",
                "content": message.text,
                **({"tool_calls": calls} if calls else {}),
                **({"refused": refused} if refused else {}),
            }
        case ToolMessage():
            return {
                "role": "tool",
                "content": message.content,
                "tool_call_id": message.tool_call_id,
                "name": message.name,
                "status": message.status,
            }
    return None


def all_on_the_wire(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    return [each for each in map(on_the_wire, messages) if each is not None]


def answer(messages: Sequence[BaseMessage], tally: Tally, *, structured: bool) -> dict[str, Any]:
    """The result of a turn, from the messages that came of it."""
    last = messages[-1] if messages else AIMessage(content="")
    if (rule := last.additional_kwargs.get(REFUSED)) is not None:
        return refusal(rule, tally)
    return {
        "output": json.loads(last.text) if structured else last.text,
        "messages": all_on_the_wire(messages),
        "tool_calls": _tool_calls(messages),
        "usage": tally.as_json(),
    }


def refusal(rule: dict[str, Any] | Rule, tally: Tally) -> dict[str, Any]:
    """The result of a turn that a guardrail ended: nothing of what was said is in it."""
    named = rule.as_json() if isinstance(rule, Rule) else rule
    return {
        "output": None,
        "refused": True,
        "rule": named,
        "messages": [],
        "tool_calls": [],
        "usage": tally.as_json(),
    }


def _tool_calls(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Each call with what came of it."""
    results = {each.tool_call_id: each for each in messages if isinstance(each, ToolMessage)}
    calls = [call for each in messages if isinstance(each, AIMessage) for call in each.tool_calls]
    return [
        {
            "id": call["id"],
            "name": call["name"],
            "args": call["args"],
            "status": result.status if (result := results.get(call["id"] or "")) is not None else None,
            "result": result.content if result is not None else None,
        }
        for call in calls
    ]


def _place(location: tuple[int | str, ...]) -> str:
    # Which form of the union it was tried as tells nobody anything.
    place = ".".join(str(each) for each in location if not str(each).startswith(("constrained", "list[")))
    return place or "parameters"
