"""Where a turn begins on a thread, and which messages came of it."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

INTERRUPTED = "The call was interrupted before its result was known; it may or may not have been done."


def closing_messages(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Results for the tool calls that nobody answered: providers refuse a conversation with a call left open."""
    answered = {each.tool_call_id for each in messages if isinstance(each, ToolMessage)}
    return [
        ToolMessage(INTERRUPTED, tool_call_id=call["id"] or "", name=call["name"], status="error")
        for message in messages
        if isinstance(message, AIMessage)
        for call in message.tool_calls
        if call["id"] not in answered
    ]


def after_input(messages: Sequence[BaseMessage], input_messages: Sequence[BaseMessage] | None) -> list[BaseMessage]:
    """What was said since the last message of the input; resumed, since the user's last words."""
    if input_messages is not None:
        last_id = input_messages[-1].id
        start = next(place for place, message in enumerate(messages) if message.id == last_id)
    else:
        start = max((place for place, each in enumerate(messages) if isinstance(each, HumanMessage)), default=-1)
    return list(messages[start + 1 :])
