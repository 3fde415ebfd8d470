"""The model of the provider `scripted`: it says what its script says, so that tests need no model and no network.

Which line it says depends on the conversation alone: line number = messages of the assistant in it so far + tries of
this call that failed; after the last line the first one follows.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Annotated, Any

from langchain.agents.middleware.types import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from agent_service.runtimes.react.turn import Turn

Milliseconds = Annotated[float, Field(ge=0, le=3_600_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScriptedCall(_Part):
    """One tool call; its id is made from its place where none is given."""

    name: str
    args: dict[str, JsonValue] = Field(default_factory=dict)
    id: str | None = None


class ScriptedFailure(_Part):
    """A provider that answers with an error."""

    status: int = Field(default=500, ge=400, le=599)
    message: str = "scripted failure"
    retry_after_seconds: float | None = Field(default=None, ge=0)


class Line(_Part):
    """What one model call brings: after `delay_ms` an error, or words, `token_delay_ms` apart, and tool calls.

    `content` that is no text is said as JSON.
    """

    content: JsonValue = ""
    tool_calls: list[ScriptedCall] = Field(default_factory=list)
    error: ScriptedFailure | None = None
    delay_ms: Milliseconds = 0
    token_delay_ms: Milliseconds = 0

    @property
    def words(self) -> list[str]:
        text = self.content if isinstance(self.content, str) else json.dumps(self.content)
        return re.findall(r"\s*\S+|\s+", text)


_LINES: TypeAdapter[list[Line]] = TypeAdapter(list[Line])


class ScriptedError(Exception):
    """What a provider's library would raise: it carries `status_code` and a response with headers."""

    def __init__(self, failure: ScriptedFailure) -> None:
        super().__init__(failure.message)
        self.status_code = failure.status
        self.response = _Response(failure.retry_after_seconds)


class _Response:
    def __init__(self, retry_after_seconds: float | None) -> None:
        self.headers = {} if retry_after_seconds is None else {"retry-after": str(retry_after_seconds)}


def read_script(script: Sequence[JsonValue]) -> list[Line]:
    """The lines; a text stands for a line of that content. Raises pydantic's ValidationError, with paths."""
    return _LINES.validate_python([{"content": each} if isinstance(each, str) else each for each in script])


class ScriptedModel(BaseChatModel):
    """Takes its line's number as the argument `position`. `model`: what it is called, in traces."""

    lines: list[Line]
    model: str = "scripted"

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return {**super()._get_ls_params(stop, **kwargs), "ls_provider": "scripted"}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """The script decides which tools are called."""
        return self.bind(**{name: value for name, value in kwargs.items() if name == "position"})

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        position = int(kwargs.get("position", 0))
        pieces = _pieces(self._line(position), position, messages)
        whole = AIMessageChunk(content="")
        for piece in pieces:
            whole += piece
        message = AIMessage(
            content=whole.content, tool_calls=whole.tool_calls, usage_metadata=whole.usage_metadata, id=whole.id
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        line = self._line(int(kwargs.get("position", 0)))
        await asyncio.sleep((line.delay_ms + line.token_delay_ms * len(line.words)) / 1000)
        return self._generate(messages, stop, None, **kwargs)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        position = int(kwargs.get("position", 0))
        line = self._line(position)
        await asyncio.sleep(line.delay_ms / 1000)
        for piece in _pieces(line, position, messages):
            chunk = ChatGenerationChunk(message=piece)
            if run_manager is not None:
                await run_manager.on_llm_new_token(str(piece.content), chunk=chunk)
            yield chunk
            await asyncio.sleep(line.token_delay_ms / 1000)

    def _line(self, position: int) -> Line:
        return self.lines[position % len(self.lines)]


class ScriptPosition(AgentMiddleware[Any, Turn]):
    """Tells the scripted model which line it is at."""

    async def awrap_model_call(
        self, request: ModelRequest[Turn], handler: Callable[[ModelRequest[Turn]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        said = sum(isinstance(message, AIMessage) for message in request.messages)
        position = said + request.runtime.context.failed_attempts
        return await handler(request.override(model_settings={**request.model_settings, "position": position}))


def _pieces(line: Line, position: int, messages: Sequence[BaseMessage]) -> list[AIMessageChunk]:
    """The line's words, then its tool calls and what it took: a token is a word."""
    if line.error is not None:
        raise ScriptedError(line.error)
    heard = sum(len(message.text.split()) for message in messages)
    said = len(line.words) + len(line.tool_calls)
    last = AIMessageChunk(
        content="",
        tool_call_chunks=[_call(call, position, index) for index, call in enumerate(line.tool_calls)],
        usage_metadata=UsageMetadata(input_tokens=heard, output_tokens=said, total_tokens=heard + said),
        chunk_position="last",
    )
    return [*(AIMessageChunk(content=word) for word in line.words), last]


def _call(call: ScriptedCall, position: int, index: int) -> ToolCallChunk:
    return ToolCallChunk(
        name=call.name,
        args=json.dumps(call.args),
        id=call.id or f"call-{position}-{index}",
        index=index,
        type="tool_call_chunk",
    )
