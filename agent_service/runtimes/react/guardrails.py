"""What an agent refuses to hear and to say.

Blocked topics are compared word by word, without regard to case, width, ligatures and invisible characters; between the
words of a topic may stand anything that is no letter or digit. Patterns are searched for within `PATTERN_SECONDS`.
"""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import regex
from langchain.agents.middleware.types import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agent_service.definition import Guardrails
from agent_service.errors import EntryPointError
from agent_service.runtimes.react.failures import ModelFailed
from agent_service.runtimes.react.turn import Turn

PATTERN_SECONDS = 1.0
# Scripts that are written without spaces: their words have no edges to look for.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
REFUSED = "refused"
# What the model finds in the conversation later: an empty message is more than some providers take.
REFUSED_TEXT = "I cannot answer that."
WITHHELD = "[withheld: a blocked topic]"


@dataclass(frozen=True)
class Rule:
    """Which guardrail refused: `name` and `value` as the definition has them; `where`: input or output."""

    name: str
    value: str | int
    where: str

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value, "where": self.where}


class Guard:
    """The guardrails of one definition. Raises `EntryPointError` for what cannot be a topic or a pattern."""

    def __init__(self, guardrails: Guardrails) -> None:
        constraints = guardrails.output_constraints
        self._topics = [(topic, _topic_pattern(topic)) for topic in guardrails.blocked_topics]
        self._max_chars = constraints.max_chars
        self._must_match = _compiled("must_match", constraints.must_match)
        self._must_not_match = _compiled("must_not_match", constraints.must_not_match)

    @property
    def watches_output(self) -> bool:
        """Nothing that the model says may be shown before it has been checked whole."""
        return bool(self._topics or self._max_chars or self._must_match or self._must_not_match)

    def blocked(self, text: str, where: str) -> Rule | None:
        """The rule for the first blocked topic in the text."""
        normal = normalised(text) if self._topics else ""
        for topic, pattern in self._topics:
            if pattern.search(normal):
                return Rule("blocked_topics", topic, where)
        return None

    def check_input(self, messages: Sequence[BaseMessage]) -> Rule | None:
        """The rule that the caller's messages break."""
        return next(filter(None, (self.blocked(spoken(message), "input") for message in messages)), None)

    def shown(self, message: BaseMessage) -> BaseMessage:
        """A message as the caller may see it: a tool's result without its content where that has a blocked topic."""
        if not isinstance(message, ToolMessage) or self.blocked(message.text, "tool") is None:
            return message
        return message.model_copy(update={"content": WITHHELD})

    async def check_output(self, message: AIMessage) -> Rule | None:
        """The rule that the model's message breaks: its words and the arguments of its tool calls.

        The constraints are for answers: for messages without tool calls. Raises `ModelFailed` when a pattern takes
        too long.
        """
        text = message.text
        if (rule := self.blocked(spoken(message), "output")) is not None or message.tool_calls:
            return rule
        if self._max_chars is not None and len(text) > self._max_chars:
            return Rule("max_chars", self._max_chars, "output")
        if self._must_match is not None and not await _found(self._must_match, text, "must_match"):
            return Rule("must_match", self._must_match.pattern, "output")
        if self._must_not_match is not None and await _found(self._must_not_match, text, "must_not_match"):
            return Rule("must_not_match", self._must_not_match.pattern, "output")
        return None


def normalised(text: str) -> str:
    """Compatibility forms and case folded, invisible characters left out."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(each for each in folded if unicodedata.category(each) != "Cf")


def spoken(message: BaseMessage) -> str:
    """The text of a message, and the arguments of its tool calls."""
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    return "\n".join([message.text, *(json.dumps(call["args"], ensure_ascii=False) for call in calls)])


def refused_message(message: AIMessage, rule: Rule) -> AIMessage:
    """What is kept in place of a message that was refused: who said it and why it is not there."""
    return AIMessage(
        content=REFUSED_TEXT,
        id=message.id,
        usage_metadata=message.usage_metadata,
        additional_kwargs={REFUSED: rule.as_json()},
    )


class GuardedModel(AgentMiddleware[Any, Turn]):
    """Replaces what the model says against the rules, before anything of it is shown, kept or done."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def awrap_model_call(
        self, request: ModelRequest[Turn], handler: Callable[[ModelRequest[Turn]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        response = await handler(request)
        return ModelResponse(result=[await self._passed(message) for message in response.result])

    async def _passed(self, message: BaseMessage) -> BaseMessage:
        if not isinstance(message, AIMessage) or (rule := await self._guard.check_output(message)) is None:
            return message
        return refused_message(message, rule)


def _topic_pattern(topic: str) -> regex.Pattern[str]:
    words = regex.findall(r"\w+", normalised(topic))
    if not words:
        raise EntryPointError(
            f"The blocked topic {topic!r} has no letter or digit; correct behavior.guardrails.blocked_topics."
        )
    before = "" if _unspaced(words[0][0]) else r"(?<![^\W_])"
    after = "" if _unspaced(words[-1][-1]) else r"(?![^\W_])"
    return regex.compile(before + r"[\W_]+".join(map(regex.escape, words)) + after)


def _unspaced(character: str) -> bool:
    return unicodedata.name(character, "").startswith(_UNSPACED)


def _compiled(name: str, pattern: str | None) -> regex.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise EntryPointError(
            f"The regular expression behavior.guardrails.output_constraints.{name} cannot be used: {error}."
        ) from error


async def _found(pattern: regex.Pattern[str], text: str, name: str) -> bool:
    # In a thread, and with the interpreter's lock let go: a pattern may take long and must keep nobody waiting.
    try:
        match = await asyncio.to_thread(pattern.search, text, timeout=PATTERN_SECONDS, concurrent=True)
    except TimeoutError:
        raise ModelFailed(
            f"The pattern {name} was not decided within {PATTERN_SECONDS:g} s, so the answer was withheld; "
            "simplify behavior.guardrails.output_constraints."
        ) from None
    return match is not None
