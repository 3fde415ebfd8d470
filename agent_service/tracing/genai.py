"""The words of OpenTelemetry's conventions for generative AI and MCP, as of semantic conventions 1.41.

https://opentelemetry.io/docs/specs/semconv/gen-ai/; none of it is stable yet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import LLMResult

from agent_service.tracing.content import MAX_CONTENT, Redact, as_content

# LangChain's names for providers, where the conventions have others.
_PROVIDERS = {
    "amazon_bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
}
_ROLES = {"human": "user", "ai": "assistant"}

Attributes = dict[str, Any]


def request_attributes(metadata: Mapping[str, Any]) -> Attributes:
    """Of a model call, from what LangChain knows of its model."""
    known = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(metadata.get("ls_provider", ""), metadata.get("ls_provider")),
        "gen_ai.request.model": metadata.get("ls_model_name"),
        "gen_ai.request.temperature": metadata.get("ls_temperature"),
        "gen_ai.request.max_tokens": metadata.get("ls_max_tokens"),
    }
    return {name: value for name, value in known.items() if value is not None}


def response_attributes(result: LLMResult) -> Attributes:
    """Of the answer to a model call: who gave it, why it ended, and what it took."""
    message = answer_of(result)
    if message is None:
        return {}
    usage = message.usage_metadata
    details = message.response_metadata
    reason = details.get("finish_reason") or details.get("stop_reason") or details.get("done_reason")
    known = {
        "gen_ai.response.model": details.get("model_name") or details.get("model"),
        "gen_ai.response.id": details.get("id"),
        "gen_ai.response.finish_reasons": [str(reason)] if reason else None,
        "gen_ai.usage.input_tokens": usage["input_tokens"] if usage else None,
        "gen_ai.usage.output_tokens": usage["output_tokens"] if usage else None,
    }
    return {name: value for name, value in known.items() if value is not None}


def tool_attributes(name: str, call_id: str | None, description: str | None, metadata: Mapping[str, Any]) -> Attributes:
    """Of a tool call; a tool of an MCP server tells so in its metadata."""
    found: Attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
    if call_id:
        found["gen_ai.tool.call.id"] = call_id
    if description:
        found["gen_ai.tool.description"] = description[:1000]
    if is_mcp(metadata):
        found["gen_ai.tool.type"] = "extension"
        found["mcp.method.name"] = "tools/call"
        found["agent_manager.mcp.server"] = metadata["server"]
        found["agent_manager.mcp.tool"] = metadata["tool"]
    else:
        found["gen_ai.tool.type"] = "function"
    return found


def is_mcp(metadata: Mapping[str, Any]) -> bool:
    """Whether a tool's metadata are those of `runtimes.tools.tool.McpTool`."""
    return isinstance(metadata.get("server"), str) and isinstance(metadata.get("tool"), str)


def answer_of(result: LLMResult) -> AIMessage | None:
    """The message that a chat model has answered with."""
    first = result.generations[0][0] if result.generations and result.generations[0] else None
    message = getattr(first, "message", None)
    return message if isinstance(message, AIMessage) else None


def as_messages(messages: Sequence[BaseMessage], redact: Redact) -> str:
    """As `gen_ai.input.messages` and `gen_ai.output.messages` have them, in JSON; of too many the newest."""
    written = [json.dumps(_message(each), ensure_ascii=False, default=str) for each in messages]
    length = 0
    kept: list[str] = []
    for text in reversed(written):
        length += len(text)
        if kept and length > MAX_CONTENT:
            break
        kept.insert(0, text)
    return as_content(f"[{', '.join(kept)}]", redact)


def _message(message: BaseMessage) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if isinstance(message, ToolMessage):
        parts.append({"type": "tool_call_response", "id": message.tool_call_id, "response": message.text})
    elif message.text:
        parts.append({"type": "text", "content": message.text})
    if isinstance(message, AIMessage):
        parts += [
            {"type": "tool_call", "id": call["id"], "name": call["name"], "arguments": call["args"]}
            for call in message.tool_calls
        ]
    return {"role": _ROLES.get(message.type, message.type), "parts": parts}
