"""The chunks of a streamed call: each a JSON object with a `type`."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, ToolMessage

Chunk = dict[str, Any]


def token_chunk(message_id: str | None, text: str) -> Chunk:
    """A piece of the text of one message."""
    return {"type": "token", "message_id": message_id, "text": text}


def retry_chunk(reason: str, seconds: float) -> Chunk:
    """The model is asked again: the tokens of the message under way do not count."""
    return {"type": "retry", "reason": reason, "wait_seconds": round(seconds, 3)}


def tool_call_chunks(message: AIMessage) -> list[Chunk]:
    """What the model wants done, each call complete with its arguments."""
    return [
        {"type": "tool_call", "id": call["id"], "name": call["name"], "args": call["args"]}
        for call in message.tool_calls
    ]


def tool_result_chunk(message: ToolMessage) -> Chunk:
    """What came of one tool call."""
    return {
        "type": "tool_result",
        "id": message.tool_call_id,
        "name": message.name,
        "status": message.status,
        "content": message.content,
    }
