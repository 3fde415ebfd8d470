"""From what a running graph reports to the chunks that a client sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agent_service.runtimes.protocol import Emit
from agent_service.runtimes.react.chunks import Chunk, token_chunk, tool_call_chunks, tool_result_chunk
from agent_service.runtimes.react.guardrails import REFUSED, Guard


class Broadcast:
    """Tells one turn's news.

    While guardrails watch the output, the words of a message are held back until all of it has passed them: then they
    come as one token.
    """

    def __init__(self, emit: Emit, guard: Guard) -> None:
        self._emit = emit
        self._guard = guard

    async def tell(self, mode: str, payload: Any) -> None:
        """One item of the graph's stream: `messages` (words under way), `custom` (our own chunks), `updates`."""
        for chunk in self._chunks(mode, payload):
            await self._emit(chunk)

    def _chunks(self, mode: str, payload: Any) -> Iterator[Chunk]:
        match mode:
            case "custom":
                yield payload
            case "messages":
                message = payload[0]
                if isinstance(message, AIMessage) and message.text and not self._guard.watches_output:
                    yield token_chunk(message.id, message.text)
            case "updates":
                for message in _new_messages(payload):
                    yield from self._of_whole(message)

    def _of_whole(self, whole: BaseMessage) -> Iterator[Chunk]:
        message = self._guard.shown(whole)
        if isinstance(message, ToolMessage):
            yield tool_result_chunk(message)
        elif isinstance(message, AIMessage):
            if message.text and self._guard.watches_output and REFUSED not in message.additional_kwargs:
                yield token_chunk(message.id, message.text)
            yield from tool_call_chunks(message)


def _new_messages(payload: dict[str, Any]) -> Iterator[BaseMessage]:
    for update in payload.values():
        if isinstance(update, dict):
            yield from (each for each in update.get("messages", ()) if isinstance(each, BaseMessage))
